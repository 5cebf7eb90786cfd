"""Samples along two axes, [S, A]: the step is that of the same samples along one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from klamp import Backtracking, Batch, Categorical, DiagonalGaussian, FullStep, Outcome, Shared
from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.minibatches import every_kth, take_rows
from klamp.mathematics.weighting import scored, scrub
from klamp.trust_region import natural_gradient
from klamp.trust_region.fisher import fisher_vector_product
from klamp.trust_region.step import trust_region_step

S, A, FEATURES, ACTIONS = 6, 4, 5, 3


def categorical(theta: Any, inputs: Any) -> Categorical:
    return Categorical(jnp.tanh(inputs @ theta["in"]) @ theta["out"])


def gaussian(theta: Any, inputs: Any) -> DiagonalGaussian:
    mean = jnp.tanh(inputs @ theta["in"]) @ theta["out"]
    return DiagonalGaussian(mean, jnp.full_like(mean, -0.5))


POLICIES = {"categorical": categorical, "gaussian": gaussian}
both = pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))


def problem(policy: Any, weighted: bool = True) -> tuple[Any, Batch]:
    keys = jax.random.split(jax.random.key(3), 6)
    theta = {
        "in": jax.random.normal(keys[0], (FEATURES, 4)),
        "out": jax.random.normal(keys[1], (4, ACTIONS)),
    }
    inputs = jax.random.normal(keys[2], (S, A, FEATURES))
    old = policy(theta, inputs)
    # Sequence 2 is not scored at all, others only in part.
    weight = jnp.asarray(jax.random.uniform(keys[3], (S, A)) > 0.3, float) * 1.5
    weight = weight.at[2].set(0).at[0, 0].set(1)
    advantage = jax.random.normal(keys[4], (S, A))
    action = old.sample(keys[5])
    return theta, Batch(inputs, action, advantage, old, weight if weighted else None)


def flattened(batch: Batch) -> Batch:
    return jax.tree.map(lambda leaf: leaf.reshape(S * A, *leaf.shape[2:]), batch)


@both
def test_a_gradient_in_blocks_is_that_of_all_sequences(
    policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six sequences in blocks of four, two of which are filled up with rows of weight 0."""
    with jax.enable_x64(True):
        theta, batch = problem(policy)
        flat, unravel = ravel_pytree(theta)

        def at(vector: Any, inputs: Any) -> Any:
            return policy(unravel(vector), inputs)

        whole = natural_gradient.surrogate_gradient(at, flat, batch)
        monkeypatch.setattr(natural_gradient, "BLOCK", 4)
        blocks = natural_gradient.surrogate_gradient(at, flat, batch)
        assert np.abs(whole).max() > 1e-3
        np.testing.assert_allclose(blocks, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("policy", "weighted", "search"),
    [
        (categorical, True, Backtracking()),
        (gaussian, True, FullStep()),
        (categorical, False, FullStep()),
        (gaussian, False, Backtracking()),
    ],
)
def test_the_step_is_that_of_the_samples_along_one_axis(
    policy: Any, weighted: bool, search: Any
) -> None:
    with jax.enable_x64(True):
        theta, batch = problem(policy, weighted)
        assert theta["in"].dtype == jnp.float64
        found, report = trust_region_step(policy, theta, batch, search=search)
        expected, told = trust_region_step(policy, theta, flattened(batch), search=search)
        assert int(report.outcome) == Outcome.ACCEPTED
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
        for name in ("kl", "kl_predicted", "gain_actual", "kl_resolution", "gradient_norm"):
            np.testing.assert_allclose(getattr(report, name), getattr(told, name), rtol=1e-7)


@both
def test_the_fisher_product_is_that_of_the_samples_along_one_axis(policy: Any) -> None:
    with jax.enable_x64(True):
        theta, batch = problem(policy)
        vector, flat = jax.tree.map(jnp.ones_like, theta), flattened(batch)
        product, expected = (
            fisher_vector_product(policy, theta, part.inputs, vector, weight=part.weight)
            for part in (batch, flat)
        )
        for one, other in zip(jax.tree.leaves(product), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


def test_garbage_that_is_not_scored_changes_no_bit() -> None:
    """In an action's place; and in the inputs of a sequence that has no scored place."""
    theta, batch = problem(categorical)
    out = batch.weight == 0
    spoiled = batch._replace(
        inputs=batch.inputs.at[2].set(jnp.nan),
        action=jnp.where(out, 99, batch.action),
        advantage=jnp.where(out, jnp.nan, batch.advantage),
        old=Categorical(jnp.where(out[..., None], jnp.nan, batch.old.logits)),
    )
    clean, dirty = (trust_region_step(categorical, theta, part) for part in (batch, spoiled))
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(dirty[1].outcome) == Outcome.ACCEPTED


def test_a_place_that_is_not_scored_is_seen() -> None:
    """The inputs of a sequence stay, where anything in it is scored."""
    _, batch = problem(categorical)
    kept = scored(batch).inputs
    for row in range(S):
        same = bool(jnp.all(kept[row] == batch.inputs[row]))
        assert same == bool(jnp.any(batch.weight[row] > 0))


def test_inputs_need_only_the_axis_of_sequences() -> None:
    """Tokens [S, L] with L ≠ A are shown whole; actions are asked for at A of the places."""
    table = jax.random.normal(jax.random.key(0), (7, ACTIONS))

    def policy(theta: Any, tokens: Any) -> Categorical:
        # What was said before a place decides: the mean over the tokens up to it.
        seen = jnp.cumsum(theta[tokens], axis=1) / jnp.arange(1, tokens.shape[1] + 1)[:, None]
        return Categorical(seen[:, -A:])

    tokens = jax.random.randint(jax.random.key(1), (S, 9), 0, 7)
    old = policy(table, tokens)
    _, like = problem(categorical)
    action = old.sample(jax.random.key(2))
    batch = Batch(tokens, action, like.advantage, old, like.weight)
    new, report = trust_region_step(policy, table, batch)
    assert int(report.outcome) == Outcome.ACCEPTED
    kl = kl_divergence(p=old, q=policy(new, tokens))
    np.testing.assert_allclose(report.kl, np.average(kl, weights=batch.weight), rtol=1e-3)
    assert 0 < float(report.kl) <= 0.01


def test_sequences_are_drawn_whole() -> None:
    _, batch = problem(categorical, weighted=False)
    rows = jnp.asarray([[4, 0, 1, 3], [2, 5, -1, -1]])
    parts = take_rows(batch, rows, S)
    assert parts.weight.shape == (2, 4, A)
    np.testing.assert_array_equal(parts.weight[1, :, 0], [1, 1, 0, 0])
    np.testing.assert_array_equal(parts.action[0, 2], batch.action[1])
    np.testing.assert_array_equal(every_kth(batch, 4).action, batch.action[::4])


def test_a_leaf_that_does_not_begin_with_the_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weights of shape \(6, 4\), but a leaf of shape \(6,\)"):
        scrub(jnp.ones(S), jnp.ones((S, A)))


def test_an_old_policy_may_be_computed_again_instead_of_kept() -> None:
    theta, batch = problem(categorical)
    again = batch._replace(old=Shared(jax.tree_util.Partial(categorical, theta)))
    kept, computed = (trust_region_step(categorical, theta, part) for part in (batch, again))
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(computed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    some = take_rows(again, jnp.asarray([3, 1]), S)
    np.testing.assert_allclose(
        some.old_policy().logits, batch.old.logits[jnp.asarray([3, 1])], rtol=1e-5, atol=1e-6
    )
