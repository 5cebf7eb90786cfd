from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from klamp import Categorical, DiagonalGaussian, Settings
from klamp.networks import (
    ACTIVATIONS,
    MLP,
    Actor,
    ActorCritic,
    CategoricalHead,
    Critic,
    Dense,
    action_head,
    build_network,
    flatten,
)
from klamp.types import Inputs

OBSERVATIONS, HIDDEN, ROWS = 5, 8, 7
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1, 1, (2,))
SMALL = Settings(hidden_sizes=(HIDDEN, HIDDEN), initial_log_std=-0.5)


def inputs(seed=0, rows=ROWS):
    return Inputs(jnp.asarray(np.random.default_rng(seed).normal(size=(rows, OBSERVATIONS)), "f4"))


def separate(space=DISCRETE, settings=SMALL, seed=0):
    return build_network(OBSERVATIONS, space, settings, key=jax.random.key(seed))


class Encoder(MLP):
    """A shared trunk: inputs to inputs whose observation is a feature vector."""

    def __call__(self, inputs):
        return inputs._replace(observation=super().__call__(inputs))


def shared(seed=0):
    keys = jax.random.split(jax.random.key(seed), 5)
    encoder = Encoder(OBSERVATIONS, (HIDDEN,), "tanh", key=keys[0])
    actor = Actor(MLP(HIDDEN, (), "tanh", key=keys[1]), CategoricalHead(HIDDEN, 3, key=keys[2]))
    critic = Critic(MLP(HIDDEN, (4,), "tanh", key=keys[3]), Dense(4, 1, gain=1.0, key=keys[4]))
    return ActorCritic(actor, encoder, critic)


NETWORKS = {
    "separate, discrete": separate,
    "separate, continuous": lambda: separate(BOX),
    "shared trunk": shared,
    "no hidden layer": lambda: separate(settings=Settings(hidden_sizes=())),
}


@cache
def built(name):
    """A network of the table, its θ and its model."""
    network = NETWORKS[name]()
    return network, *flatten(network)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", NETWORKS)
def test_theta_and_the_network_are_two_forms_of_one_thing(name):
    network, theta, model = built(name)
    assert theta.ndim == 1
    back = model.unravel(theta)
    assert jax.tree.structure(back) == jax.tree.structure(network)
    for a, b in zip(leaves(back), leaves(network), strict=True):
        np.testing.assert_array_equal(a, b)
    again, _ = flatten(model.unravel(2 * theta))
    np.testing.assert_array_equal(again, 2 * theta)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_computes_what_the_network_computes(name):
    network, theta, model = built(name)
    x = inputs()
    expected, value = network.distribution_and_value(x)
    for actual in (
        network.distribution(x),
        model.distribution(theta, x),
        model.policy(theta[: model.policy_end], x),
    ):
        for a, b in zip(leaves(actual), leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for actual in (
        network.value(x),
        model.value(theta, x),
        model.critic(theta[model.critic_start :], x),
    ):
        np.testing.assert_allclose(actual, value, rtol=1e-5, atol=1e-6)
    assert value.shape == (ROWS,)


@pytest.mark.parametrize("name", NETWORKS)
def test_theta_is_laid_out_as_actor_then_encoder_then_critic(name):
    network, theta, model = built(name)
    parts = [
        np.concatenate([leaf.ravel() for leaf in leaves(part)] or [np.zeros(0)])
        for part in (network.actor, network.encoder, network.critic)
    ]
    np.testing.assert_array_equal(theta, np.concatenate(parts))
    assert model.critic_start == parts[0].size
    assert model.policy_end == parts[0].size + parts[1].size
    assert model.shared == (parts[1].size > 0) == (name == "shared trunk")


@pytest.mark.parametrize("name", NETWORKS)
def test_policy_and_critic_depend_on_their_own_parts_of_theta_and_on_all_of_them(name):
    _, theta, model = built(name)
    x = inputs()

    @jax.jit
    def gradients(theta):
        def moved(theta):
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(policy(theta)))

        def policy(theta):
            return model.distribution(theta, x)

        return jax.grad(moved)(theta), jax.grad(lambda t: jnp.sum(model.value(t, x)))(theta)

    # Away from the initial biases and heads, where some derivatives vanish.
    noise = np.random.default_rng(1).normal(size=theta.size)
    of_policy, of_value = (np.asarray(g) != 0 for g in gradients(theta + jnp.asarray(noise, "f4")))
    place = np.arange(theta.size)
    np.testing.assert_array_equal(of_policy, place < model.policy_end)
    np.testing.assert_array_equal(of_value, place >= model.critic_start)


def test_separate_networks_share_nothing():
    _, _, model = built("separate, discrete")
    assert model.critic_start == model.policy_end
    assert not model.shared


def test_hidden_layers_are_orthogonal_with_gain_root_two_and_biases_are_zero():
    network = separate(BOX, Settings(hidden_sizes=(16, 8)))
    for torso in (network.actor.torso, network.critic.torso):
        for layer in torso.layers:
            weight = np.asarray(layer.weight)
            short = weight if weight.shape[0] <= weight.shape[1] else weight.T
            np.testing.assert_allclose(short @ short.T, 2 * np.eye(len(short)), atol=1e-5)
            assert np.all(np.asarray(layer.bias) == 0)


def test_the_first_policy_is_almost_uniform_and_the_critic_has_unit_gain():
    network, _, _ = built("separate, discrete")
    head, critic = (
        np.asarray(network.actor.head.dense.weight),
        np.asarray(network.critic.dense.weight),
    )
    np.testing.assert_allclose(head.T @ head, 1e-4 * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(critic.T @ critic, [[1]], atol=1e-6)
    probabilities = np.exp(np.asarray(network.distribution(inputs()).log_probabilities))
    np.testing.assert_allclose(probabilities, 1 / 3, atol=0.02)


def test_actor_and_critic_start_from_different_weights_and_seeds_differ():
    network, other = built("separate, discrete")[0], separate(seed=1)
    first = [np.asarray(part.torso.layers[0].weight) for part in (network.actor, network.critic)]
    assert np.max(np.abs(first[0] - first[1])) > 0.1
    first.append(np.asarray(other.actor.torso.layers[0].weight))
    assert np.max(np.abs(first[0] - first[2])) > 0.1
    layers = separate(
        settings=Settings(hidden_sizes=(OBSERVATIONS, OBSERVATIONS))
    ).actor.torso.layers
    assert np.max(np.abs(np.asarray(layers[0].weight) - np.asarray(layers[1].weight))) > 0.1


def test_heads_fit_their_action_spaces():
    discrete = built("separate, discrete")[0].distribution(inputs())
    assert isinstance(discrete, Categorical)
    assert discrete.logits.shape == (ROWS, 3)
    continuous = built("separate, continuous")[0].distribution(inputs())
    assert isinstance(continuous, DiagonalGaussian)
    assert continuous.mean.shape == (ROWS, 2)
    np.testing.assert_array_equal(continuous.log_std, np.full((ROWS, 2), -0.5, np.float32))


def test_an_action_space_that_no_distribution_covers_is_named():
    with pytest.raises(TypeError, match="Graph"):
        action_head(spaces.Graph(BOX, None), 4, initial_log_std=0.0, key=jax.random.key(0))


def test_rows_do_not_see_each_other():
    network, _, _ = built("separate, discrete")
    x = inputs()
    changed = x._replace(observation=x.observation.at[0].set(99.0))
    before, after = (network.distribution(each).logits for each in (x, changed))
    np.testing.assert_array_equal(before[1:], after[1:])
    assert np.any(np.asarray(before[0]) != np.asarray(after[0]))


def test_observations_of_any_shape_are_flattened():
    network = build_network(6, DISCRETE, SMALL, key=jax.random.key(0))
    flat = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, 6)), "f4")
    folded = flat.reshape(ROWS, 2, 3)
    np.testing.assert_array_equal(network.value(Inputs(flat)), network.value(Inputs(folded)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_chosen_activation_is_used(activation):
    layer = MLP(2, (3,), activation, key=jax.random.key(0))
    x = jnp.array([[1.0, -2.0]])
    expected = ACTIVATIONS[activation](x @ layer.layers[0].weight)
    np.testing.assert_allclose(layer(Inputs(x)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("tanh", np.tanh(-1)), ("relu", 0.0), ("silu", -0.2689414), ("elu", np.expm1(-1))],
)
def test_activations_are_what_their_names_say(activation, expected):
    assert ACTIVATIONS[activation](jnp.array(-1.0)) == pytest.approx(expected, rel=1e-5)
