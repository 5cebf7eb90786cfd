"""What numpy computes is what the traced function computes, or there is no translation."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from small_policies import drawn

from klamp import Settings
from klamp.collection.numpy_backend import MULTIPLY_ADDS, Translation, translate
from klamp.mathematics.normalization import Scaling, normalize
from klamp.runtime.numpy_policy import ELEMENTWISE
from klamp.runtime.traced import UntranslatableError
from klamp.types import Inputs

ROWS, FEATURES = 3, 5
NETWORKS = {
    "tanh": (spaces.Discrete(4), {}),
    "relu": (spaces.Discrete(4), {"activation": "relu"}),
    "elu": (spaces.Discrete(2), {"activation": "elu"}),
    "silu": (spaces.Discrete(2), {"activation": "silu"}),
    "shared": (spaces.Discrete(4), {"shared_network": True}),
    "no layers": (spaces.Discrete(4), {"hidden_sizes": ()}),
    "gaussian": (spaces.Box(-1, 1, (2,)), {}),
    "of the state": (spaces.Box(-1, 1, (2,)), {"action_scale": "state"}),
    "tanh mean": (spaces.Box(-1, 1, (2,)), {"mean_activation": "tanh"}),
    "squashed": (spaces.Box(-1, 1, (2,)), {"action_bounds": "tanh"}),
    "multi-discrete": (spaces.MultiDiscrete([2, 3]), {}),
    "dict": (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,))}), {}),
}


def acting(space, settings):
    """θ, the function that acts, and the noise of one step."""
    chosen = Settings(**({"hidden_sizes": (8, 8)} | settings))
    theta, model = drawn(FEATURES, space, chosen)

    def act(known, seen, noise):
        theta, scaling = known
        distribution, _ = model.act(theta, Inputs(normalize(seen, scaling)))
        return distribution.sample_from(noise)

    example = model.distribution(theta, Inputs(jnp.zeros((ROWS, FEATURES))))
    return theta, act, example.noise(jax.random.key(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_small_policies_act_in_numpy_as_they_do_compiled(name):
    theta, act, noise = acting(*NETWORKS[name])
    rng = np.random.default_rng(0)
    seen = rng.normal(0, 3, (ROWS, FEATURES)).astype(np.float32)
    translation = translate(act, (theta, Scaling(seen[0], seen[1])), seen, noise)
    assert translation is not None
    for turn in range(3):
        known = (theta * (1 + turn), Scaling(seen[turn], np.abs(seen[turn])))
        finish = translation.begin(known)
        for scale in (1, -0.5):
            found = finish(seen * scale, *map(np.asarray, jax.tree.leaves(noise)))
            expected = jax.jit(act)(known, seen * scale, noise)
            assert jax.tree.structure(found) == jax.tree.structure(expected)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                assert isinstance(a, np.ndarray)
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


FUNCTIONS = [
    lambda w, x: jnp.where(x > w, jnp.abs(x), -x),
    lambda w, x: jnp.exp(jnp.minimum(x, w)) / (1 + jnp.square(x)) ** 2,
    lambda w, x: jax.nn.softplus(x) + jax.nn.sigmoid(x) - jnp.expm1(-(x**2)),
    lambda w, x: {"part": x[1:, ::2], "type": (x > w).astype(int)},
    lambda w, x: jnp.clip(jnp.sqrt(jnp.abs(x)), 0.5, w),
    lambda w, x: jnp.argmax(jnp.abs(x) * w, axis=0),
    lambda w, x: (x, jnp.zeros(3), w),
    lambda w, x: jnp.log(x) * w,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_operations_mean_in_numpy_what_they_mean_traced(function):
    w = np.float32(1.5)
    x = np.random.default_rng(1).normal(0, 2, (ROWS, FEATURES)).astype(np.float32)
    x[0, :3] = 0, np.nan, np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Translation(function, w, x).begin(w)(x)
    expected = jax.jit(function)(w, x)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-6)


def test_what_follows_from_the_known_alone_is_computed_once():
    times = []

    def counted(x):
        times.append(x)
        return np.exp(x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ELEMENTWISE, "exp", counted)
        translation = Translation(lambda w, x: jnp.exp(w) * x, 0.3, np.ones(2, np.float32))
        finish = translation.begin(0.3)
        finish(np.ones(2, np.float32))
        finish(np.ones(2, np.float32))
    assert len(times) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda w, x: jnp.fft.fft(x),
        lambda w, x: jax.lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
        lambda w, x: x.T @ x,
        lambda w, x: jnp.sort(x),
        lambda w, x: x.astype(int),
        lambda w, x: jnp.arange(3) // 2,
    ],
)
def test_there_is_no_translation_of_what_it_does_not_know(function):
    x = np.ones((ROWS, FEATURES), np.float32)
    with pytest.raises(UntranslatableError):
        Translation(function, 0.0, x)
    assert translate(function, 0.0, x) is None


def test_large_products_are_left_to_the_compiled_program():
    side = round(MULTIPLY_ADDS ** (1 / 3))
    x, more = np.ones((side, side), np.float32), np.ones((side + 1, side), np.float32)
    assert translate(jnp.matmul, x, x) is not None
    assert translate(lambda w, x: x @ w, x, more) is None
