"""What copies of an environment answer."""

from typing import Any

import numpy as np
import pytest
from environments import OBSERVATIONS, Count, Probe

from klamp.envs.host.copies import check_end
from klamp.envs.host.serial import LocalCopies


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_rows_are_what_each_copy_shows(observation: str) -> None:
    copies = LocalCopies(
        [Probe(observation, "discrete", None), Probe(observation, "discrete", None)]
    )
    alone = [Probe(observation, "discrete", None), Probe(observation, "discrete", None)]
    copies.reset({0: 5, 1: 6})
    expected = [env.reset(seed=seed)[0] for env, seed in zip(alone, (5, 6), strict=True)]
    for _ in range(3):
        for i, one in enumerate(expected):
            same(row(copies.observation, i), one)
        stepped = copies.step(np.array([-1, 0]))
        after = [env.step(a) for env, a in zip(alone, (-1, 0), strict=True)]
        expected = [step[0] for step in after]
        assert list(stepped.reward) == [step[1] for step in after]


def row(batch: Any, index: int) -> Any:
    if isinstance(batch, dict):
        return {key: row(part, index) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(row(part, index) for part in batch)
    return batch[index]


def same(a: Any, b: Any) -> None:
    if isinstance(b, dict):
        [same(a[key], b[key]) for key in b]
    elif isinstance(b, tuple):
        [same(x, y) for x, y in zip(a, b, strict=True)]
    else:
        np.testing.assert_array_equal(a, b)


def test_only_the_copies_named_are_reset() -> None:
    copies = LocalCopies([Count(9), Count(9)])
    copies.reset({0: 0, 1: 0})
    copies.step(np.zeros(2, int))
    infos = copies.reset({1: 7})
    assert infos[0] is None
    assert infos[1] is not None
    np.testing.assert_array_equal(copies.observation, [[0, 1], [1, 0]])


@pytest.mark.parametrize("flag", [True, False, np.True_, np.array(False)])
def test_ends_are_bools_of_python_or_numpy(flag: Any) -> None:
    check_end(flag, flag, {})


@pytest.mark.parametrize("flag", ["no", 0, None, np.array([True]), np.array(1.0)])
def test_what_is_no_bool_ends_no_episode(flag: Any) -> None:
    with pytest.raises(TypeError, match=r"`terminated` is of type .*, expected a bool"):
        check_end(flag, False, {})
    with pytest.raises(TypeError, match=r"`truncated` is of type .*, expected a bool"):
        check_end(False, flag, {})
