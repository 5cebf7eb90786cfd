"""What an update's completions are does not depend on which process plays which of them."""

from typing import Any

import jax
import numpy as np
import pytest
from joined_threads import in_each, joined_threads
from lm.small_models import completions, tiny_decoder

from klamp.lm.collection.collector import Played, TaskCollector
from klamp.lm.collection.shares import SHOWN, Part, arrays_of, joined, part_of, played_by_all
from klamp.lm.collection.text_collector import TextCollector
from klamp.lm.config.settings import Settings
from klamp.lm.environments.dataset import load_dataset
from klamp.lm.environments.rewards import Rewards
from klamp.lm.networks.pretrained import Pretrained
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tokens.tokenizer import SymbolTokenizer
from klamp.runtime.joined import ALONE

ROWS = [{"prompt": "ab"}, {"prompt": "cccfe"}, {"prompt": "f"}, {"prompt": "abcdef"}]


def text(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "reward": 0.1}


def test_a_part_is_told_without_loss() -> None:
    for more in ({}, {"log_prob": np.full((8, 2), -0.1, np.float32)}):
        own = {"own": np.array([0.1] * 7 + [np.nan])}
        part = Part(completions(**more), own, [text("αβ")])
        again = part_of(arrays_of(part))
        jax.tree.map(np.testing.assert_array_equal, again.completions, part.completions)
        assert (again.completions.log_prob is None) == (not more)
        np.testing.assert_array_equal(again.by_name["own"], own["own"])
        assert again.samples == part.samples


def test_shorter_parts_are_made_as_long_as_the_longest() -> None:
    short, long = completions(actions=1), completions(actions=2, seed=1)
    parts = [
        Part(each, {"own": np.full(8, place)}, [text(f"{place}.{row}") for row in range(6)])
        for place, each in enumerate((short, long))
    ]
    whole = joined(parts)
    np.testing.assert_array_equal(whole.completions.prompt, [*range(8), *range(8)])
    np.testing.assert_array_equal(whole.completions.tokens[:8, :-1], short.tokens)
    np.testing.assert_array_equal(whole.completions.action[8:], long.action)
    for name in ("tokens", "valid"):
        assert not np.any(getattr(whole.completions, name)[:8, -1])
    assert not np.any(whole.completions.weight[:8, 1:])
    np.testing.assert_array_equal(whole.by_name["own"], [0] * 8 + [1] * 8)
    assert [sample["prompt"] for sample in whole.samples][4:] == ["0.4", "0.5", "1.0", "1.1"]
    assert len(whole.samples) == SHOWN


def by(count: int, collect: Any) -> list[Played]:
    """What each of so many processes collects in two updates."""
    if count == 1:
        return [played for update in (0, 1) for played in [collect(ALONE, update)]]
    processes = joined_threads(count)
    done = in_each(processes, lambda own: [collect(own, update) for update in (0, 1)])
    for each in processes:
        each.watch.leave()
    for result in done:
        if isinstance(result, BaseException):
            raise result
    first, *others = done
    for other in others:
        same(first, other)
    return first


def same(some: list[Played], others: list[Played]) -> None:
    for one, other in zip(some, others, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.completions, other.completions)
        for name in ("returns", "lengths"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert set(one.by_name) == set(other.by_name)
        for name, values in one.by_name.items():
            np.testing.assert_array_equal(values, other.by_name[name])
        assert (one.sampled, one.samples) == (other.sampled, other.samples)


@pytest.mark.compiles
def test_a_task_is_played_alike_by_one_process_and_by_two() -> None:
    """Groups that are drawn again, too: all of them decide by all rewards."""
    task = TASKS["sort"]
    decoder = random_decoder(task.decoder, jax.random.key(0))

    def collected(shards: int) -> Any:
        groups = {"prompts": 2, "generations": 3, "advantage": "group", "redraw_groups": 1}
        settings = Settings(**groups, shards=shards)
        return lambda own, update: TaskCollector(task, settings, own).collect(decoder, update)

    alone, both = by(1, collected(2)), by(2, collected(2))
    same(alone, both)
    assert alone[0].sampled > 36 or alone[1].sampled > 36  # some group was drawn again
    # What is sampled does not depend on the number of shards; its rounding may.
    for one, other in zip(alone, by(1, collected(1)), strict=True):
        np.testing.assert_array_equal(one.completions.tokens, other.completions.tokens)


def test_rewards_are_of_the_process_that_sampled() -> None:
    """A reward function sees whole groups, those of a shard; prompts may be of any length."""
    seen: list[int] = []

    def longest(prompts: list[str], completions: list[str]) -> list[float]:
        seen.append(len(prompts))
        return [float(len(said) == max(map(len, completions))) for said in completions]

    small = {"prompts": 4, "generations": 2, "max_new_tokens": 3, "max_prompt_tokens": 16}
    settings = Settings(**small, shards=2)
    model = Pretrained(tiny_decoder(), SymbolTokenizer(tuple("abcdef")))
    parts = (model, load_dataset(ROWS), Rewards((longest,)), None, settings)

    def collected(own: Any, update: int) -> Played:
        return TextCollector(*parts, own).collect(tiny_decoder(), update)

    alone = by(1, collected)
    assert seen == [4] * 4
    assert set(alone[0].by_name) == {"longest"}
    assert len(alone[0].samples) == SHOWN
    same(alone, by(2, collected))
    assert seen == [4] * 8


@pytest.mark.parametrize("shards", [1, 2])
def test_one_process_tells_nobody(shards: int) -> None:
    """With one shard all rows are played at once, as they always were."""
    asked: list[list[int]] = []

    def play(rows: np.ndarray) -> Part:
        asked.append(rows.tolist())
        return Part(completions(len(rows)), {}, [])

    assert len(played_by_all(play, 4, shards, ALONE).completions.tokens) == 4
    assert asked == ([[0, 1, 2, 3]] if shards == 1 else [[0, 1], [2, 3]])
