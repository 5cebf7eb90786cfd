"""Completions of a user's rows: what the reward functions see, and where their rewards go."""

import numpy as np
import pytest
from lm.small_models import tiny_decoder

from klamp.errors import ConfigError
from klamp.lm.collection.text_collector import TextCollector, sampled_ids
from klamp.lm.config.settings import Settings
from klamp.lm.environments.dataset import load_dataset
from klamp.lm.environments.rewards import Rewards
from klamp.lm.networks.pretrained import Pretrained
from klamp.lm.tokens.tokenizer import SymbolTokenizer

ROWS = [
    {"prompt": "ab", "answer": "c"},
    {"prompt": "ccc", "answer": "d"},
    {"prompt": "f", "answer": "e"},
]
SETTINGS = Settings(prompts=3, generations=2, max_new_tokens=3, max_prompt_tokens=8)
seen: list[dict] = []


def model() -> Pretrained:
    return Pretrained(tiny_decoder(), SymbolTokenizer(tuple("abcdef")))


def answered(prompts: list, completions: list, answer: list, **columns: list) -> list:
    seen.append({"prompts": prompts, "completions": completions, "answer": answer, **columns})
    return [float(right in said) for right, said in zip(answer, completions, strict=True)]


def second_turn(completions: list) -> list:
    return [None if number % 2 else 0.25 for number in range(len(completions))]


def collector(*functions) -> TextCollector:
    return TextCollector(model(), load_dataset(ROWS), Rewards(functions), None, SETTINGS)


def test_rewards_see_texts_and_columns_and_reach_the_last_action() -> None:
    collecting = collector(answered, second_turn)
    collecting.check()
    played = collecting.collect(tiny_decoder(), 0)
    (call,) = seen
    assert sorted(call["prompts"]) == ["ab", "ab", "ccc", "ccc", "f", "f"]
    ids = sampled_ids(played.completions)
    assert call["completion_ids"] == ids
    assert call["completions"] == [collecting.decode(each) for each in ids]
    own = np.asarray(
        [float(a in c) for a, c in zip(call["answer"], call["completions"], strict=True)]
    )
    np.testing.assert_array_equal(played.by_name["answered"], own)
    np.testing.assert_allclose(played.returns, own + 0.25 * (np.arange(6) % 2 == 0))
    reward, weight = np.asarray(played.completions.reward), np.asarray(played.completions.weight)
    last = (weight.cumsum(1) == weight.sum(1, keepdims=True)) & (weight > 0)
    np.testing.assert_allclose(reward[last], played.returns)
    assert played.metrics()["reward_second_turn"] == 0.25
    # A completion that reached no end within its tokens is cut off.
    cut = np.asarray(played.completions.truncated).any(1)
    np.testing.assert_array_equal(cut, [model().end_tokens[0] not in each for each in ids])
    assert played.samples[0]["prompt"] == call["prompts"][0]
    greedy = collecting.evaluated(tiny_decoder(), 4, seed=0, deterministic=True)
    assert [sample["prompt"] for sample in greedy.samples] == ["ab", "ccc", "f", "ab"]


def test_a_column_that_is_missing_is_named_before_the_start() -> None:
    def asks(completions: list, solution: list) -> list:
        return []

    with pytest.raises(ConfigError, match="`asks` asks for `solution`"):
        collector(asks).check()
    bare = TextCollector(Pretrained(tiny_decoder()), load_dataset(ROWS), None, None, SETTINGS)
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        bare.encode("ab")
    with pytest.raises(ConfigError, match="no chat template"):
        collector(answered).encode([{"role": "user", "content": "ab"}])
