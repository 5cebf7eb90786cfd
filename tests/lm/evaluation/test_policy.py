"""A policy reads and writes text as it is told to."""

from pathlib import Path

import pytest
from lm.small_models import VOCABULARY, tiny_decoder

from klamp.errors import ConfigError
from klamp.lm.config.presets import configure
from klamp.lm.evaluation.policy import LanguagePolicy, Texts
from klamp.lm.networks.generation import TurnLimits

LETTERS = "abcdefgh"


def policy(stop: tuple[int, ...] = ()) -> LanguagePolicy:
    texts = Texts(
        lambda text: [LETTERS.index(letter) for letter in text],
        lambda ids: "".join(LETTERS[each] for each in ids),
        TurnLimits(4, stop),
        lambda count, seed: ["abc"[: 1 + seed]] * count,
        lambda decoder, folder: None,
    )
    return LanguagePolicy(tiny_decoder(), configure("sort", "ppo", {}), texts)


@pytest.mark.compiles
def test_prompts_of_different_lengths_are_written_on_by_themselves() -> None:
    together = policy().generate(["abc", "g", "ddddd"])
    assert [len(text) for text in together] == [4, 4, 4]
    assert together == [policy().generate([each])[0] for each in ("abc", "g", "ddddd")]
    assert policy().generate([]) == []
    assert policy().own_prompts(2, seed=1) == ["ab", "ab"]
    # A token that stops is not part of what is written.
    stop = LETTERS.index(together[0][1])
    assert policy((stop,)).generate(["abc"])[0] == together[0].split(LETTERS[stop])[0]


def test_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty; expected at least one token"):
        policy().generate(["ab", ""])
    assert policy().save(tmp_path / "out") == tmp_path / "out"
    assert len(LETTERS) == VOCABULARY
