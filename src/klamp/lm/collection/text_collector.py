"""Completions of a user's own data: prompts of rows, rewards by functions or by environments."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from klamp.errors import ConfigError
from klamp.lm.collection.collector import Played, scores, with_spread
from klamp.lm.collection.shares import SHOWN, Part, played_by_all
from klamp.lm.config.settings import Settings
from klamp.lm.environments.dataset import Dataset, encoded_prompts
from klamp.lm.environments.rewards import Prompt, Rewards
from klamp.lm.environments.text_game import TextGame, play_text
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import Sampling, TurnLimits, bucket, generate, padded
from klamp.lm.networks.pretrained import Pretrained
from klamp.lm.tokens.sequences import Completions, completions_of
from klamp.lm.tokens.tokenizer import Tokenizer
from klamp.runtime.joined import ALONE, Processes
from klamp.runtime.seeding import Purpose, key


@dataclass(frozen=True)
class TextCollector:
    """One completion, or episode of an environment, for each row that is drawn."""

    model: Pretrained
    dataset: Dataset
    rewards: Rewards | None
    """None where an environment alone rewards."""
    game: TextGame | None
    """None where a completion is one turn."""
    settings: Settings
    processes: Processes = ALONE
    """They share the rows of each update."""

    exact = False

    def collect(self, decoder: Decoder, update: int) -> Played:
        """The completions of one update."""
        settings, draws = self.settings, list[Part]()
        sampling = Sampling(settings.temperature)

        def draw(number: int) -> Completions:
            first = (update * (1 + settings.redraw_groups) + number) * settings.prompts
            drawn = self.dataset.drawn(settings.seed, first, settings.prompts)
            rows = np.repeat(drawn, settings.generations)
            noise = jax.random.fold_in(key(settings.seed, Purpose.ACT, update), number)

            def play(places: np.ndarray) -> Part:
                return self._play(decoder, rows[places], places, settings.seed, noise, sampling)

            shares = (settings.completions, settings.shards, self.processes)
            draws.append(played_by_all(play, *shares))
            return draws[-1].completions

        completions, sampled = with_spread(draw, settings)
        returns, lengths = scores(completions)
        first = draws[0]
        return Played(completions, returns, lengths, sampled, first.by_name, None, first.samples)

    def evaluated(self, decoder: Decoder, count: int, *, seed: int, deterministic: bool) -> Played:
        """Answers to the first ``count`` rows; data with fewer begins anew."""
        rows = np.arange(count) % len(self.dataset)
        sampling = Sampling(self.settings.temperature, greedy=deterministic)
        noise = key(seed, Purpose.ACT_EVALUATED)
        part = self._play(decoder, rows, np.arange(count), seed, noise, sampling)
        returns, lengths = scores(part.completions)
        found = (part.completions, returns, lengths, int(lengths.sum()))
        return Played(*found, part.by_name, None, part.samples)

    def _play(
        self,
        decoder: Decoder,
        rows: np.ndarray,
        places: np.ndarray,
        seed: int,
        noise: PRNGKeyArray,
        sampling: Sampling,
    ) -> Part:
        """Completions of rows of the data, which have these places in their batch."""
        if self.game is None:
            prompts: Sequence[Prompt] = self.dataset.prompts(rows.tolist())
            completions = self._one_turn(decoder, rows, places, noise, sampling)
            texts = [[self.decode(ids)] for ids in sampled_ids(completions)]
        else:
            played = play_text(decoder, self.game, rows.tolist(), places, seed, noise, sampling)
            prompts, texts, completions = played.prompts, played.texts, played.completions
        by_name: dict[str, Any] = {}
        if self.rewards is not None:
            ids = sampled_ids(completions)
            said = ["".join(turns) for turns in texts]
            most = max(map(len, texts))
            columns = self.dataset.column_values(rows.tolist())
            earned = self.rewards(prompts, said, columns, ids, most)
            completions, by_name = (
                completions.with_reward(jnp.asarray(earned.total)),
                earned.by_name,
            )
            if earned.turns is not None:
                completions = completions.with_reward(jnp.asarray(earned.turns))
        returns, lengths = scores(completions)
        samples = [
            {
                "prompt": prompts[row],
                "completion": "\n".join(texts[row]),
                "reward": float(returns[row]),
                **{f"reward_{name}": float(values[row]) for name, values in by_name.items()},
                "length": int(lengths[row]),
                "finished": bool(np.asarray(completions.terminated[row]).any()),
            }
            for row in range(min(SHOWN, len(rows)))
        ]
        return Part(completions, by_name, samples)

    def _one_turn(
        self,
        decoder: Decoder,
        rows: np.ndarray,
        places: np.ndarray,
        noise: PRNGKeyArray,
        sampling: Sampling,
    ) -> Completions:
        ids = [self._ids[row] for row in rows]
        longest = max(map(len, ids))
        tokens, valid = padded(ids, bucket(longest, self.settings.max_prompt_tokens))
        limits = TurnLimits(self.settings.max_new_tokens, self.model.end_tokens)
        at = jnp.asarray(places, jnp.int32)
        record, cut = generate(decoder, tokens, valid, noise, at, limits, sampling)
        prompts = jnp.asarray(rows, jnp.int32)
        return completions_of(record, ~cut, cut, prompts, limits.new_tokens)

    @cached_property
    def _ids(self) -> list[list[int]]:
        """The token ids of every prompt."""
        return encoded_prompts(self.dataset, self.encode, self.settings.max_prompt_tokens)

    def check(self) -> None:
        """Raise ``ConfigError`` for a prompt that is too long, or a column that is asked for."""
        assert len(self._ids) == len(self.dataset)
        if self.rewards is not None:
            self.rewards.check_columns(self.dataset.columns)

    def encode(self, prompt: Prompt) -> list[int]:
        """A text, or messages by the model's chat template, as token ids."""
        if isinstance(prompt, str):
            return self._tokenizer.encode(prompt)
        if self.model.chat is None:
            raise ConfigError(
                "A prompt is a list of messages, but the model's folder has no chat template. Give "
                "prompts as text, or a model made for chat."
            )
        return self._tokenizer.encode(self.model.chat.render(prompt), special=False)

    def encode_observation(self, text: str) -> list[int]:
        """What an environment answered, as token ids without those that begin a text."""
        return self._tokenizer.encode(text, special=False)

    def decode(self, ids: Sequence[int]) -> str:
        """What the policy wrote."""
        return self._tokenizer.decode(ids)

    @property
    def _tokenizer(self) -> Tokenizer:
        if self.model.tokenizer is None:
            raise ConfigError(
                "The model has no tokenizer.json in its folder, so its prompts cannot be read. "
                "Put the tokenizer that it was trained with there."
            )
        return self.model.tokenizer


def sampled_ids(completions: Completions) -> list[list[int]]:
    """The token ids that the policy sampled, of each completion."""
    action, weight = np.asarray(completions.action), np.asarray(completions.weight) > 0
    return [row[own].tolist() for row, own in zip(action, weight, strict=True)]
