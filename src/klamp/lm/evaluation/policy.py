"""A trained language model, for use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from klamp.errors import ConfigError, shown
from klamp.lm.config.run import Configuration
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import Sampling, TurnLimits, generate, padded
from klamp.runtime.seeding import Purpose, key


@dataclass(frozen=True)
class Texts:
    """How a model reads and writes text."""

    encode: Callable[[str], Sequence[int]]
    """Text to token ids; ``KeyError`` where it has no token."""
    decode: Callable[[Sequence[int]], str]
    """Token ids to text."""
    limits: TurnLimits
    """How long it writes."""
    prompts: Callable[[int, int], list[str]]
    """(count, seed) → some prompts of what the run is about."""
    save: Callable[[Decoder, Path], None]
    """Write a folder that other software opens."""


class LanguagePolicy:
    """A decoder with its text: prompts in, completions out."""

    def __init__(self, decoder: Decoder, config: Configuration, texts: Texts) -> None:
        self.decoder, self.config, self._texts = decoder, config, texts

    def generate(
        self,
        prompts: Sequence[str],
        *,
        deterministic: bool = True,
        seed: int = 0,
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """What the policy writes after each prompt: its most probable tokens, or samples.

        At most ``max_new_tokens`` each; by default as many as in training. Samples are drawn at the
        temperature of the training. Raises ``ConfigError`` for a prompt that has no tokens.
        """
        if not prompts:
            return []
        ids = [self._ids(prompt) for prompt in prompts]
        tokens, valid = padded(ids, max(map(len, ids)))
        limits = self._texts.limits
        if max_new_tokens is not None:
            limits = replace(limits, new_tokens=max_new_tokens)
        sampling = Sampling(self.config.settings.temperature, greedy=deterministic)
        noise, rows = key(seed, Purpose.ACT_EVALUATED), jnp.arange(len(ids))
        record, _ = generate(self.decoder, tokens, valid, noise, rows, limits, sampling)
        written, mine = np.asarray(record.tokens), np.asarray(record.turn) > 0
        said = [row[own].tolist() for row, own in zip(written, mine, strict=True)]
        return [self._texts.decode(ids[:-1] if ids[-1] in limits.stop else ids) for ids in said]

    def own_prompts(self, count: int, seed: int = 0) -> list[str]:
        """Some prompts of what it was trained on."""
        return self._texts.prompts(count, seed)

    def save(self, folder: str | Path) -> Path:
        """Write a folder that `transformers` opens."""
        path = Path(folder)
        self._texts.save(self.decoder, path)
        return path

    def _ids(self, prompt: str) -> Sequence[int]:
        try:
            ids = self._texts.encode(prompt)
        except KeyError as error:
            raise ConfigError(
                f"The prompt {shown(prompt)} has {error}, for which the model has no token. Write "
                f"it like {shown(self.own_prompts(1)[0])}."
            ) from error
        if not ids:
            raise ConfigError(f"The prompt {shown(prompt)} is empty; expected at least one token.")
        return ids
