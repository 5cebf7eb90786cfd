"""Group advantages and aggregation, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.learning.advantages import aggregation_scale, group_advantage, without_spread

KINDS = ("group", "group-mean", "leave-one-out")
SCORE = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
WEIGHT = jnp.asarray([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0.0]])


def test_each_baseline_is_its_definition() -> None:
    found = {
        kind: np.asarray(group_advantage(jnp.asarray(SCORE.ravel()), 4, kind)).reshape(5, 4)
        for kind in KINDS
    }
    for row, completions in enumerate(SCORE):
        for place, own in enumerate(completions):
            others = np.delete(completions, place)
            mean, deviation = completions.mean(), completions.std()
            assert found["group"][row, place] == pytest.approx((own - mean) / deviation, abs=1e-5)
            assert found["group-mean"][row, place] == pytest.approx(own - mean, abs=1e-6)
            assert found["leave-one-out"][row, place] == pytest.approx(
                own - others.mean(), abs=1e-6
            )


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_of_a_prompts_returns_changes_nothing(kind: str) -> None:
    shift = np.arange(5)[:, None] * 8.0
    plain = group_advantage(jnp.asarray(SCORE.ravel()), 4, kind)
    moved = group_advantage(jnp.asarray((SCORE + shift).astype(np.float32).ravel()), 4, kind)
    np.testing.assert_allclose(moved, plain, atol=1e-4)
    # A power of two scales every number exactly.
    scaled = group_advantage(jnp.asarray((SCORE * 2.0 ** np.arange(5)[:, None]).ravel()), 4, kind)
    if kind == "group":
        np.testing.assert_allclose(scaled, plain, atol=1e-6)
    else:
        assert float(jnp.max(jnp.abs(scaled - plain))) > 0.1


def test_groups_without_spread_teach_nothing() -> None:
    score = jnp.asarray([0.1, 0.1, 0.1, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(without_spread(score, 3), [True, False])
    np.testing.assert_array_equal(group_advantage(score, 3, "group")[:3], 0)


def test_aggregation_is_another_mean_over_tokens() -> None:
    """By factor and weights 0 or 1, the mean over tokens becomes what each paper writes."""
    value = jax.random.normal(jax.random.key(0), WEIGHT.shape)
    lengths = np.asarray(WEIGHT.sum(1))
    sums = np.asarray((value * WEIGHT).sum(1))
    kept = lengths > 0
    wanted = {
        "token": sums.sum() / lengths.sum(),
        "sequence": (sums[kept] / lengths[kept]).mean(),
        "constant": (sums[kept] / WEIGHT.shape[1]).mean(),
    }
    for kind, mean in wanted.items():
        scale = aggregation_scale(WEIGHT, kind)
        assert float(jnp.sum(scale * value * WEIGHT) / WEIGHT.sum()) == pytest.approx(
            mean, abs=1e-6
        )
        np.testing.assert_array_equal(scale[WEIGHT == 0], 0)
