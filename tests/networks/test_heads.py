"""Heads: the right distribution for each space and setting, and log σ that stays in range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import ACTIONS
from gymnasium import spaces

from klamp import Categorical, ConfigError, DiagonalGaussian
from klamp.mathematics.distributions import (
    Bernoulli,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
)
from klamp.networks import action_head
from klamp.networks.heads import bounded_log_std, has_gaussian

BOX = spaces.Box(-2, 3, (2,), np.float32)
X = jax.random.normal(jax.random.key(1), (5, 4))


def distribution(space: spaces.Space, **options: object) -> object:
    return action_head(space, 4, key=jax.random.key(0), **options)(X)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("discrete", Categorical),
        ("multidiscrete", MultiCategorical),
        ("multibinary", Bernoulli),
        ("box", DiagonalGaussian),
        ("dict", Joint),
        ("tuple", Joint),
    ],
)
def test_each_space_has_its_distribution(name: str, kind: type) -> None:
    found = distribution(ACTIONS[name])
    assert type(found) is kind
    assert found.entropy().shape == (5,)
    if name == "dict":
        assert [type(part) for part in found.parts] == [Categorical, DiagonalGaussian]


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [("clip", DiagonalGaussian), ("tanh", SquashedGaussian), ("beta", ScaledBeta)],
)
def test_bounds_choose_the_distribution(bounds: str, kind: type) -> None:
    found = distribution(BOX, bounds=bounds)
    assert type(found) is kind
    if bounds != "clip":
        assert found.low == (-2.0, -2.0)
        assert found.high == (3.0, 3.0)


@pytest.mark.parametrize("bounds", ["tanh", "beta"])
def test_bounds_that_do_not_exist_are_an_error(bounds: str) -> None:
    for low, high in ((-np.inf, 1.0), (1.0, 1.0)):
        with pytest.raises(ConfigError, match="action_bounds"):
            distribution(spaces.Box(np.float32(low), np.float32(high), (1,)), bounds=bounds)


def test_the_first_beta_has_one_peak_near_the_middle() -> None:
    found = distribution(BOX, bounds="beta")
    assert np.all(np.asarray(found.alpha) > 1)
    np.testing.assert_allclose(found.alpha, found.beta, atol=0.1)


def test_scales() -> None:
    learned = distribution(BOX, scale="learned", initial_log_std=-0.5)
    np.testing.assert_array_equal(learned.log_std, np.full((5, 2), -0.5, np.float32))
    state = distribution(BOX, scale="state", initial_log_std=-0.5)
    np.testing.assert_allclose(state.log_std, -0.5, atol=0.1)
    assert np.ptp(np.asarray(state.log_std)) > 0
    scheduled = distribution(BOX, scale="scheduled").with_log_std(jnp.full(5, -1.0))
    np.testing.assert_array_equal(scheduled.log_std, np.full((5, 2), -1.0))
    head = action_head(BOX, 4, scale="scheduled", key=jax.random.key(0))
    assert {leaf.shape for leaf in jax.tree.leaves(head)} == {(4, 2), (2,)}


@pytest.mark.parametrize("scale", ["learned", "state", "scheduled"])
def test_tanh_bounds_the_mean_and_leaves_the_scale(scale: str) -> None:
    plain = distribution(BOX, scale=scale)
    found = distribution(BOX, scale=scale, mean_activation="tanh")
    np.testing.assert_allclose(found.mean, np.tanh(plain.mean), rtol=1e-6)
    np.testing.assert_array_equal(found.log_std, plain.log_std)
    joint = distribution(ACTIONS["dict"], mean_activation="tanh").parts[1]
    far = action_head(ACTIONS["dict"], 4, mean_activation="tanh", key=jax.random.key(0))
    assert np.all(np.abs(far(1e4 * X).parts[1].mean) <= 1)
    assert type(joint) is DiagonalGaussian


def test_log_std_stays_in_range_and_its_gradient_passes() -> None:
    raw = jnp.concatenate([jnp.linspace(-200, 200, 4001), jnp.array([-1e4, 1e4])])
    bounded, slope = jax.vmap(jax.value_and_grad(bounded_log_std))(raw)
    assert np.all((bounded >= -20) & (bounded <= 2))
    inside = (raw > -17) & (raw < -0.3)
    np.testing.assert_array_equal(bounded[inside], raw[inside])
    assert np.all(np.diff(np.asarray(bounded)[:-2]) >= 0)
    assert np.all(np.asarray(slope) >= 0)
    edges = jax.vmap(jax.grad(bounded_log_std))(jnp.array([-21.0, -20.0, 2.0, 3.0]))
    assert np.all(np.asarray(edges) > 1e-4)
    np.testing.assert_allclose(edges[1:3], 0.5, atol=1e-4)
    # In float32 neither σ nor 1/σ² is 0 or infinite anywhere in the range.
    assert np.all(np.isfinite(jnp.exp(-2 * bounded)) & (jnp.exp(2 * bounded) > 0))


def test_where_a_schedule_has_something_to_scale() -> None:
    assert has_gaussian(ACTIONS["tuple"], "clip")
    assert has_gaussian(BOX, "tanh")
    assert not has_gaussian(ACTIONS["dict"], "beta")
    assert not has_gaussian(ACTIONS["multibinary"], "clip")
