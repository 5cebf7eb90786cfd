"""What the loop reads of a rollout, on the host and on the device."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.collection.collector import first_non_finite, summarize, under
from klamp.types import Rollout

T, N = 4, 2


def rollout(xp: Any, observation: Any, following: Any, reward: Any) -> Rollout:
    ended = np.zeros((T, N), bool)
    ended[3, 1] = True
    parts = (observation, following, np.zeros((T, N)), reward, ended, ended & False)
    return Rollout(*(xp.asarray(part) for part in parts), weight=None)


def test_arrays_are_found_under_a_prefix_and_by_the_rest_of_their_names() -> None:
    arrays = {name: np.zeros(0) for name in ("1.a", "1.1.a", "11.a", "a1.b")}
    assert set(under("1.", arrays)) == {"a", "1.a"}


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_first_is_found_and_named(xp: Any, which: int) -> None:
    parts = [np.zeros((T, N, 3), "f4"), np.zeros((T, N, 3), "f4"), np.zeros((T, N), "f4")]
    find = jax.jit(first_non_finite) if xp is jnp else first_non_finite
    assert int(find(rollout(xp, *parts)).which) == -1
    parts[2][3, 1] = np.nan
    parts[which][(2, 1, 0)[: parts[which].ndim]] = -np.inf
    rows = rollout(xp, *parts)
    summary = summarize(rows, find(rows), None, lambda index, earlier: f"{index}, {earlier} ago")
    name = ("observation, entry (0,),", "next observation, entry (0,),", "reward")[which]
    where = "of environment 1 at step 2 of the rollout is -inf (1, 1 ago)"
    assert summary.fault == f"the {name} {where}"


@pytest.mark.parametrize("xp", [np, jnp])
def test_bytes_are_always_finite(xp: Any) -> None:
    image = np.full((T, N, 2, 2, 1), 255, np.uint8)
    rows = rollout(xp, image, image, np.zeros((T, N), "f4"))
    assert int(first_non_finite(rows).which) == -1


def test_a_summary_counts_transitions_only() -> None:
    zeros = np.zeros((T, N, 3), "f4")
    weight = np.ones((T, N), "f4")
    weight[1, 0] = 0
    rows = rollout(np, zeros, zeros, np.ones((T, N), "f4"))._replace(weight=weight)
    summary = summarize(rows, first_non_finite(rows), None, lambda *_: "")
    assert summary.steps == T * N - 1
    assert summary.fault is None
    assert summary.ended.sum() == 1
