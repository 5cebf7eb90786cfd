"""PPO against its definition; its promises (max_kl) and each of its extras."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe import (
    adam_first_step,
    compiled,
    flat_grad,
    make_model,
    mean_kl,
    one_update,
    sample,
)

from klamp.algorithms import ppo
from klamp.config.algorithms import PPO
from klamp.mathematics.objectives import (
    clipped_surrogate,
    clipped_value_loss,
    sequence_ratio,
    truncated_surrogate,
)
from klamp.trust_region.report import Outcome

BASE = PPO(epochs=2, minibatch_size=32, learning_rate=3e-3)
WHOLE = PPO(epochs=1, minibatch_size=64, learning_rate=1e-3, entropy_coefficient=0.1)
FAR = PPO(epochs=50, minibatch_size=16, learning_rate=0.1)


def kl_of(config: PPO, **kind: bool) -> float:
    model, _, batch, update = one_update(config, **kind)
    return mean_kl(model, update.theta, batch)


def test_the_first_step_is_that_of_equation_9() -> None:
    model, theta, batch, update = one_update(WHOLE)

    def objective(new, value):
        # At θ_old the ratio is 1 and nothing is clipped: its gradient is that of log π.
        ratio = jnp.exp(new.log_prob(batch.action) - batch.old.log_prob(batch.action))
        error = jnp.mean(jnp.square(value - batch.value_target))
        return -jnp.mean(ratio * batch.advantage) + 0.5 * error - 0.1 * jnp.mean(new.entropy())

    direction = adam_first_step(
        flat_grad(model, theta, objective, batch), max_gradient_norm=WHOLE.max_gradient_norm
    )
    moved = np.asarray((theta - update.theta) / WHOLE.learning_rate)
    np.testing.assert_allclose(moved, direction, atol=3e-3)
    assert int(update.outcome) == Outcome.ACCEPTED


def test_extras_that_never_bind_change_nothing() -> None:
    idle = replace(
        BASE, clip_upper=BASE.clip, dual_clip=1e6, value_clip=1e6, target_kl=1e6, max_kl=1e6
    )
    plain, extra = one_update(BASE)[3], one_update(idle)[3]
    np.testing.assert_array_equal(plain.theta, extra.theta)
    assert float(extra.details["projection"]) == 1
    assert int(extra.outcome) == Outcome.ACCEPTED
    assert "projection" not in plain.details
    assert plain.state.learning_rate is None


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (replace(BASE, learning_rate=1e-2), BASE),
        (replace(BASE, epochs=8), BASE),
        (replace(BASE, minibatch_size=8), BASE),
        (replace(BASE, epochs=8), replace(BASE, epochs=8, target_kl=1e-6)),
        (replace(BASE, epochs=30), replace(BASE, epochs=30, clip=0.02)),
        (replace(BASE, epochs=30, clip=0.02, clip_upper=0.5), replace(BASE, epochs=30, clip=0.02)),
        (BASE, replace(BASE, max_gradient_norm=1e-6)),
    ],
)
def test_each_setting_moves_the_policy_the_right_way(more: PPO, less: PPO) -> None:
    assert kl_of(more) > 1.5 * kl_of(less)


def test_the_entropy_bonus_keeps_entropy() -> None:
    def entropy(config: PPO) -> float:
        model, _, batch, update = one_update(config)
        return float(model.distribution(update.theta, batch.inputs).entropy().mean())

    assert entropy(replace(BASE, entropy_coefficient=1.0)) > entropy(BASE) + 1e-3


def test_without_value_loss_the_critic_stays() -> None:
    model, theta, _, update = one_update(replace(BASE, value_coefficient=0.0))
    end = model.policy_end
    np.testing.assert_array_equal(update.theta[end:], theta[end:])
    assert np.any(update.theta[:end] != theta[:end])


def test_the_critic_has_a_step_size_of_its_own() -> None:
    one = replace(WHOLE, value_learning_rate=3 * WHOLE.learning_rate)
    for kind in ({}, {"shared": True}):
        model, theta, _, plain = one_update(WHOLE, **kind)
        _, _, _, update = one_update(one, **kind)
        end = model.policy_end
        np.testing.assert_array_equal(update.theta[:end], plain.theta[:end])
        assert np.any(plain.theta[end:] != theta[end:])
        moved = 3 * np.asarray(plain.theta[end:] - theta[end:])
        np.testing.assert_allclose(update.theta[end:] - theta[end:], moved, rtol=1e-2, atol=1e-6)
    # A schedule shortens both steps.
    final = replace(one, final_learning_rate=0.0)
    np.testing.assert_array_equal(one_update(final, progress=1.0)[3].theta, one_update(final)[1])


def test_the_schedules_reach_their_ends() -> None:
    config = replace(BASE, final_learning_rate=0.0, final_clip=0.1)
    _, theta, _, update = one_update(config, progress=1.0)
    np.testing.assert_array_equal(update.theta, theta)
    assert float(update.details["clip"]) == pytest.approx(0.1)
    half = one_update(config, progress=0.5)[3].details
    assert float(half["learning_rate"]) == pytest.approx(1.5e-3)
    assert float(half["clip"]) == pytest.approx(0.15)


@pytest.mark.parametrize("kind", [{}, {"shared": True}, {"continuous": True}])
def test_max_kl_is_kept_by_the_largest_step_that_keeps_it(kind: dict[str, bool]) -> None:
    model, theta, batch, free = one_update(FAR, **kind)
    assert mean_kl(model, free.theta, batch) > 0.1
    _, _, _, bound = one_update(replace(FAR, max_kl=0.02), **kind)
    assert int(bound.outcome) == Outcome.PROJECTED
    assert 0.99 * 0.02 < mean_kl(model, bound.theta, batch) <= 0.02
    kept = float(bound.details["projection"])
    assert 0 < kept < 1
    drawn = theta.size if model.shared else model.policy_end
    along = theta + kept * (free.theta - theta)
    np.testing.assert_allclose(bound.theta[:drawn], along[:drawn], atol=1e-5)
    # Separate networks: the critic keeps its fit, to the bit.
    np.testing.assert_array_equal(bound.theta[drawn:], free.theta[drawn:])


def test_an_update_that_diverged_is_not_taken_for_a_projected_one() -> None:
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    broken = batch._replace(advantage=batch.advantage.at[3].set(jnp.nan))
    update = compiled(FAR, model)(theta, ppo.init(FAR, model, theta), broken)
    assert not np.isfinite(update.theta).all()  # What the loop refuses as NON_FINITE.


@pytest.mark.parametrize(
    ("target", "factor"), [(1e-9, 1 / 1.5), (1e3, 1.5), (None, 1.0)], ids=["far", "near", "right"]
)
def test_the_learning_rate_adapts_to_the_kl(target: float | None, factor: float) -> None:
    target = kl_of(BASE) if target is None else target
    config = replace(BASE, adaptive_learning_rate=target)
    update = one_update(config)[3]
    assert float(update.details["learning_rate"]) == pytest.approx(BASE.learning_rate)
    expected = BASE.learning_rate * factor
    assert float(update.state.learning_rate) == pytest.approx(expected)
    # The first step is not touched by it; the next one takes it from the state.
    np.testing.assert_array_equal(update.theta, one_update(BASE)[3].theta)


@pytest.mark.parametrize(("start", "target", "end"), [(1e-5, 1e-9, 1e-5), (1e-2, 1e3, 1e-2)])
def test_the_learning_rate_stays_within_its_bounds(start: float, target: float, end: float) -> None:
    config = replace(BASE, learning_rate=start, adaptive_learning_rate=target)
    assert float(one_update(config)[3].state.learning_rate) == pytest.approx(end)


def test_the_adapted_rate_is_the_one_that_the_next_update_uses() -> None:
    config = replace(BASE, adaptive_learning_rate=1e3)
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    state = ppo.init(config, model, theta)._replace(learning_rate=jnp.asarray(0.0))
    update = compiled(config, model)(theta, state, batch)
    np.testing.assert_array_equal(update.theta, theta)


# Hand-computed: ε = 0.2, c = 3. Columns: ratio, advantage, plain, asymmetric (upper 0.4), dual.
CASES = [
    (1.5, 1.0, 1.2, 1.4, 1.2),
    (1.3, 2.0, 2.4, 2.6, 2.4),
    (0.5, 1.0, 0.5, 0.5, 0.5),
    (0.5, -1.0, -0.8, -0.8, -0.8),
    (1.5, -1.0, -1.5, -1.5, -1.5),
    (5.0, -1.0, -5.0, -5.0, -3.0),
    (5.0, 1.0, 1.2, 1.4, 1.2),
]


@pytest.mark.parametrize(("ratio", "advantage", "plain", "upper", "dual"), CASES)
def test_clips_by_hand(
    ratio: float, advantage: float, plain: float, upper: float, dual: float
) -> None:
    r, a = jnp.asarray([ratio]), jnp.asarray([advantage])
    assert float(clipped_surrogate(r, a, 0.2)) == pytest.approx(plain)
    assert float(clipped_surrogate(r, a, 0.2, clip_upper=0.4)) == pytest.approx(upper)
    assert float(clipped_surrogate(r, a, 0.2, dual_clip=3.0)) == pytest.approx(dual)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "slope"),
    [
        (1.1, 1.0, 2.0, 0.405, -0.9),  # Within ±c: the plain loss.
        (1.5, 1.0, 2.0, 0.32, 0.0),  # Moved far towards the target: no further pull.
        (0.5, 1.0, 2.0, 1.125, -1.5),  # Moved away from it: pulled back in full.
        (2.5, 1.0, 1.1, 0.98, 1.4),  # Overshot it: pulled back.
    ],
)
def test_the_value_clip_by_hand(
    value: float, old: float, target: float, loss: float, slope: float
) -> None:
    def clipped(v):
        return clipped_value_loss(v[None], jnp.asarray([old]), jnp.asarray([target]), 0.2)

    found, gradient = jax.value_and_grad(clipped)(jnp.asarray(value))
    assert float(found) == pytest.approx(loss)
    assert float(gradient) == pytest.approx(slope)


def test_the_value_clip_holds_the_critic_back() -> None:
    def moved(config: PPO) -> float:
        model, _, batch, update = one_update(config)
        return float(np.abs(model.value(update.theta, batch.inputs) - batch.old_value).max())

    far = replace(BASE, epochs=30, learning_rate=1e-2)
    assert moved(replace(far, value_clip=0.05)) < 0.5 * moved(far)


def test_a_sequences_ratio_is_the_geometric_mean_of_its_samples() -> None:
    old, new = (jax.random.normal(jax.random.key(seed), (3, 4)) for seed in (0, 1))
    weight = jnp.asarray([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0.0]])
    found = np.asarray(sequence_ratio(new.at[1, 1].set(jnp.nan), old, weight))
    for row, kept in enumerate(np.asarray(weight) > 0):
        ratios = np.exp(np.asarray(new - old)[row, kept])
        mean = ratios.prod() ** (1 / max(kept.sum(), 1))
        np.testing.assert_allclose(found[row], mean, rtol=1e-5)
    # Of samples along one axis each is a sequence by itself.
    np.testing.assert_allclose(sequence_ratio(new[0], old[0]), np.exp(new[0] - old[0]), rtol=1e-6)
    plain, alone = one_update(BASE)[3], one_update(replace(BASE, ratio="sequence"))[3]
    np.testing.assert_allclose(plain.theta, alone.theta, rtol=1e-5, atol=1e-6)
    assert 0 <= float(alone.details["clip_fraction"]) < 1
    assert "clip_fraction" not in plain.details


def test_cispo_weighs_each_gradient_by_a_bounded_ratio() -> None:
    """The gradient is E[clip(r)·Â·∇log π], of samples beyond the clip as well."""
    log_prob, advantage = jnp.asarray([0.0, 1.0, -2.0]), jnp.asarray([1.0, 2.0, -1.0])
    ratio = jnp.exp(log_prob)
    gradient = jax.grad(
        lambda x: truncated_surrogate(jnp.exp(x), x, advantage, 0.2, clip_upper=0.5)
    )(log_prob)
    bounded = np.clip(np.asarray(ratio), 0.8, 1.5)
    np.testing.assert_allclose(gradient, bounded * np.asarray(advantage) / 3, rtol=1e-6)
    # One step from the policy that collected is PPO's own: every ratio is 1.
    once = replace(BASE, epochs=1, minibatch_size=64)
    plain, other = one_update(once)[3], one_update(replace(once, objective="cispo"))[3]
    np.testing.assert_allclose(plain.theta, other.theta, rtol=1e-5, atol=1e-6)
