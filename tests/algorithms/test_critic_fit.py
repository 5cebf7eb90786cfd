import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from test_networks import OBSERVATIONS, SMALL, shared

from klamp import Batch, Context, Settings
from klamp.algorithms.critic_fit import fit, fit_shared
from klamp.mathematics import adam
from klamp.mathematics.objectives import value_loss
from klamp.networks import build_network, flatten
from klamp.types import Inputs

ROWS = 48
SETTINGS = Settings(
    hidden_sizes=SMALL.hidden_sizes,
    critic_epochs=20,
    critic_minibatch_size=20,  # does not divide the rows
    critic_learning_rate=3e-3,
)


def problem(network, rows=ROWS):
    theta, model = flatten(network)
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(rows, OBSERVATIONS)).astype(np.float32)
    target = np.sin(observation[:, 0]) + observation[:, 1]
    batch = Batch(
        Inputs(jnp.asarray(observation)),
        jnp.zeros(rows, int),
        jnp.zeros(rows),
        None,
        jnp.asarray((rng.random(rows) < 0.8).astype(np.float32)),
        jnp.asarray(target.astype(np.float32)),
    )
    state = adam.init(theta[model.critic_start :])
    return model, theta, state, batch


@pytest.fixture(scope="module")
def separate():
    space = spaces.Discrete(3)
    model, theta, state, batch = problem(
        build_network(OBSERVATIONS, space, SMALL, key=jax.random.key(0))
    )

    @jax.jit
    def train(theta, state, batch, key):
        context = Context(SETTINGS, model, key, jnp.zeros(()))
        fitted, new_state = fit(context, theta, state, batch)
        losses = [
            value_loss(model.value(at, batch.inputs), batch.value_target, batch.weight)
            for at in (theta, fitted)
        ]
        return fitted, new_state, losses

    return model, theta, state, batch, train


def test_the_fit_reduces_the_value_loss(separate):
    _, theta, state, batch, train = separate
    _, _, (before, after) = train(theta, state, batch, jax.random.key(1))
    assert after < 0.3 * before


def test_the_policys_parameters_stay_bit_identical(separate):
    model, theta, state, batch, train = separate
    fitted, _, _ = train(theta, state, batch, jax.random.key(1))
    own = slice(0, model.critic_start)
    assert np.asarray(fitted[own]).tobytes() == np.asarray(theta[own]).tobytes()
    assert np.all(np.asarray(fitted[model.critic_start :]) != np.asarray(theta[own.stop :]))
    assert fitted.shape == theta.shape


def test_garbage_under_weight_zero_changes_no_bit_of_the_fit(separate):
    _, theta, state, batch, train = separate
    keep = np.asarray(batch.weight) > 0
    assert not keep.all()
    clean, _, _ = train(theta, state, batch, jax.random.key(1))
    target = jnp.where(keep, batch.value_target, jnp.nan)
    dirty, _, _ = train(theta, state, batch._replace(value_target=target), jax.random.key(1))
    np.testing.assert_array_equal(clean, dirty)


def test_the_optimizers_state_goes_on(separate):
    _, theta, state, batch, train = separate
    _, after, _ = train(theta, state, batch, jax.random.key(1))
    steps = SETTINGS.critic_epochs * -(-ROWS // SETTINGS.critic_minibatch_size)
    assert int(after.steps) == steps
    again, twice, _ = train(theta, after, batch, jax.random.key(1))
    assert int(twice.steps) == 2 * steps
    first, _, _ = train(theta, state, batch, jax.random.key(1))
    assert np.any(np.asarray(again) != np.asarray(first))


def test_the_order_of_the_minibatches_is_the_keys(separate):
    _, theta, state, batch, train = separate
    first, same, other = (
        np.asarray(train(theta, state, batch, jax.random.key(k))[0]) for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.any(first != other)


def test_one_full_batch_step_is_adams():
    model, theta, state, batch = problem(shared())
    one = Settings(critic_epochs=1, critic_minibatch_size=ROWS, critic_learning_rate=1e-2)
    context = Context(one, model, jax.random.key(0), jnp.zeros(()))
    fitted, _ = jax.jit(fit)(context, theta, state, batch)

    def loss(part):
        return value_loss(model.critic(part, batch.inputs), batch.value_target, batch.weight)

    start = theta[model.critic_start :]
    gradient = np.asarray(jax.jit(jax.grad(loss))(start))
    # Adam's first step: both moments' corrections leave g / (|g| + ε).
    expected = np.asarray(start) - 1e-2 * gradient / (np.abs(gradient) + 1e-5)
    np.testing.assert_allclose(fitted[model.critic_start :], expected, rtol=1e-4, atol=1e-6)
    # With a shared trunk the encoder moves, and the actor's own part does not.
    actor = slice(0, model.critic_start)
    assert np.asarray(fitted[actor]).tobytes() == np.asarray(theta[actor]).tobytes()


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), spaces.Box(-1, 1, (2,))])
def test_a_policy_that_has_not_moved_is_not_drawn_anywhere(action_space):
    """The gradient of KL(stepped‖π) at π = stepped is 0 to the bit, in minibatches of any size."""
    settings = Settings(
        hidden_sizes=(16, 16),
        shared_network=True,
        shards=4,
        critic_epochs=2,
        critic_minibatch_size=128,
        critic_learning_rate=1e-30,  # so that θ stays where it is
    )
    space = spaces.Box(-1, 1, (OBSERVATIONS,))
    network = build_network(space, action_space, settings, key=jax.random.key(0))
    model, theta, _, batch = problem(network, 256)
    assert model.shared
    batch = batch._replace(
        old=jax.jit(model.distribution)(theta, batch.inputs),
        action=jnp.zeros((256, *action_space.shape)),
    )
    context = Context(settings, model, jax.random.key(0), jnp.zeros(()), devices=4)
    fitted, state, _ = jax.jit(fit_shared, static_argnames="max_kl")(
        context, theta, adam.init(theta), batch, max_kl=0.01
    )
    np.testing.assert_allclose(fitted, theta, rtol=0, atol=1e-20)
    actor, rest = np.split(np.asarray(state.first), [model.critic_start])
    assert not np.any(actor)
    assert np.count_nonzero(rest) > rest.size / 2
