"""Small language-model runs for the commands of this folder: every preset, and several turns."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

LETTERS = "abcdefgh"
MODEL = Path(tempfile.gettempdir()) / "klamp-language-kills-model"
ROWS = [{"prompt": text} for text in ("abc", "b", "hg", "cafe", "dd")]
STEPS = 1_000
"""Sampled tokens of a run, about a dozen updates."""
SMALL: dict[str, Any] = {
    "prompts": 4,
    "generations": 4,
    "max_new_tokens": 5,
    "max_prompt_tokens": 6,
    "checkpoint_interval": 150,
}
CRITIC: dict[str, Any] = {"value_hidden": 8, "critic_epochs": 2, "critic_minibatch_size": 8}
DESCENT: dict[str, Any] = {"epochs": 2, "minibatch_size": 8}
NATURAL: dict[str, Any] = {"fisher_subsample": 2}


def early_letters(completion_ids: Sequence[Sequence[int]]) -> list[float]:
    """A reward: the share of tokens that are among the first letters."""
    return [sum(1 <= each <= 3 for each in ids) / len(ids) for ids in completion_ids]


class Echo:
    """Three turns; the answer to a text is its beginning, and the reward its length."""

    def reset(self, row: int, seed: int) -> str:
        """One letter."""
        self.turns = 0
        return LETTERS[(row + seed) % len(LETTERS)]

    def step(self, text: str) -> Any:
        """The answer."""
        from klamp.lm import Turn

        self.turns += 1
        return Turn(text[:2] or "a", len(text) / 5, terminated=self.turns == 3)


class LanguageCase(NamedTuple):
    """A preset on a small model of its own, on a text environment, or on a built-in task."""

    preset: str
    settings: dict[str, Any]
    task: str | None = None
    turns: bool = False

    def train(self, steps: int, folder: Path) -> None:
        """From the beginning."""
        import klamp.lm

        own: dict[str, Any] = {}
        if self.task is None:
            source = {"environment": Echo} if self.turns else {"reward": early_letters}
            own = {"data": ROWS, **source}
        settings = own | self.settings | {"steps": steps}
        klamp.lm.train(self.task or str(model()), self.preset, out=folder, quiet=True, **settings)

    def go_on(self, folder: Path) -> None:
        """From what is there."""
        import klamp.lm
        from klamp.lm.training.sources import Sources

        sources = Sources(
            None if self.task else ROWS,
            (early_letters,) if not self.task and not self.turns else (),
            None,
            Echo if self.turns else None,
        )
        klamp.lm.resume(folder, quiet=True, sources=sources)


def model() -> Path:
    """The folder of a tiny random decoder."""
    if not MODEL.exists():
        import jax

        from klamp.lm.networks.decoder import DecoderConfig
        from klamp.lm.networks.pretrained import Pretrained
        from klamp.lm.networks.untrained import random_decoder
        from klamp.lm.tokens.tokenizer import SymbolTokenizer

        form = DecoderConfig(len(LETTERS) + 1, 16, 1, 2, 1, 8, 16, context=64, tied_head=True)
        draft = Path(tempfile.mkdtemp()) / "model"
        decoder = random_decoder(form, jax.random.key(0))
        Pretrained(decoder, SymbolTokenizer(tuple(LETTERS))).save(draft)
        draft.rename(MODEL)
    return MODEL


def language_cases() -> dict[str, LanguageCase]:
    """By the names of the table."""
    small = SMALL | CRITIC
    alone = small | {"prompts": 16, "generations": 1}
    bound = {"max_kl": 0.01}
    held = {"reference_coefficient": 0.1, "reference_target": 0.01}
    descent = SMALL | DESCENT
    critic = alone | DESCENT
    game = alone | {"max_new_tokens": 3, "max_turns": 4}
    played = {name: small[name] for name in ("checkpoint_interval", "critic_epochs")}
    return {
        "ppo": LanguageCase("ppo", critic | bound),
        "ppo, adapters, held to a reference": LanguageCase(
            "ppo", critic | bound | held | {"adapter_rank": 2}
        ),
        "ppo-kl": LanguageCase("ppo-kl", critic),
        "trpo": LanguageCase("trpo", alone | NATURAL),
        "npg": LanguageCase("npg", alone | NATURAL),
        "a2c": LanguageCase("a2c", alone),
        "reinforce": LanguageCase("reinforce", alone),
        "grpo": LanguageCase("grpo", descent | bound),
        "dr-grpo": LanguageCase("dr-grpo", descent),
        "rloo": LanguageCase("rloo", descent),
        "dapo": LanguageCase("dapo", descent),
        "gspo": LanguageCase("gspo", descent | held | {"reference_kl": "loss"}),
        "cispo": LanguageCase("cispo", descent | bound),
        "ppo, three turns of text": LanguageCase("ppo", game | DESCENT | bound, turns=True),
        "grpo, three turns of text": LanguageCase(
            "grpo", descent | {"max_new_tokens": 3, "max_turns": 4}, turns=True
        ),
        "trpo, guess, up to six turns": LanguageCase(
            "trpo", played | NATURAL | {"prompts": 16}, task="guess"
        ),
        "ppo, memory, five turns": LanguageCase(
            "ppo", played | DESCENT | {"prompts": 16, "supervised_steps": 2}, task="memory"
        ),
    }
