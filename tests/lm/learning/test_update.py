"""From completions to an update: the same mathematics as in control, to the bit."""

import math
import re
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.small_models import (
    ACTIONS,
    PROMPT,
    SETTINGS,
    VOCABULARY,
    completions,
    frozen_head_model,
    tiny_decoder,
    tiny_model,
)

from klamp import fisher_vector_product
from klamp.algorithms import Context
from klamp.config.algorithms import A2C, NPG, PPO, REINFORCE, TRPO, PPOPenalty
from klamp.lm.config.presets import configure
from klamp.lm.config.settings import Settings
from klamp.lm.learning.update import Learnt, make_learn, prepare, ratio_error
from klamp.lm.networks.generation import Sampling, TurnLimits, generate
from klamp.lm.tokens.sequences import Completions, completions_of
from klamp.networks import ActorCritic, Model, flatten
from klamp.reporting.anomalies.language import MISMATCH
from klamp.training.learning import initial_state, learn_from_batch
from klamp.types import Batch, Inputs

ALGORITHMS = {
    "ppo": PPO(epochs=2, minibatch_size=4, max_kl=1e-4),
    "ppo-kl": PPOPenalty(epochs=2, minibatch_size=4),
    "trpo": TRPO(max_kl=1e-3),
    "npg": NPG(max_kl=1e-3),
    "a2c": A2C(),
    "reinforce": REINFORCE(),
}
NOTHING = jnp.zeros(())


def slow(value: Any) -> Any:
    """A case that the short suite leaves to others of its test."""
    return pytest.param(value, marks=pytest.mark.compiles)


@jax.jit
def prepared(model: Model, theta: jax.Array, played: Completions) -> Batch:
    """The batch of these completions, which θ itself sampled."""
    return prepare(model, theta, theta, played, NOTHING, SETTINGS)


def in_rows(tree: Any) -> Any:
    """[S, 1, …] as [S, …]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


class OneToken(eqx.Module):
    """A policy or critic of sequences with one action each, as control has them: [S]."""

    inner: Any

    def __call__(self, inputs: Inputs) -> Any:
        return in_rows(self.inner(inputs))


def updated(algorithm: Any, model: Model, theta: jax.Array, batch: Batch) -> np.ndarray:
    context = Context(SETTINGS, model, jax.random.key(2), NOTHING)
    state = initial_state(algorithm, model, theta)
    learn = jax.jit(learn_from_batch, static_argnums=0)
    return np.asarray(learn(algorithm, context, theta, state, batch)[0])


def as_token_and_as_action(name: str) -> tuple[np.ndarray, np.ndarray]:
    """θ after one update of the same samples, as [S, 1] and as [S], which is what control has."""
    theta, model = tiny_model()
    batch = prepared(model, theta, completions(actions=1))
    assert batch.advantage.shape == (8, 1)
    whole = model.unravel(theta)
    network = ActorCritic(OneToken(whole.actor), whole.encoder, OneToken(whole.critic))
    same, control = flatten(network)
    np.testing.assert_array_equal(theta, same)
    rows = in_rows(batch._replace(inputs=None))
    one = updated(ALGORITHMS[name], model, theta, batch)
    other = updated(ALGORITHMS[name], control, theta, rows._replace(inputs=batch.inputs))
    assert np.any(one != theta)
    return one, other


@pytest.mark.parametrize("name", [slow("ppo"), slow("trpo"), slow("reinforce")])
def test_a_token_is_an_action(name: str) -> None:
    """To a few units in the last place of θ, as the tests compile: exponentials may round anew."""
    np.testing.assert_allclose(*as_token_and_as_action(name), rtol=0, atol=1e-8)


@pytest.mark.compiles
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_token_is_an_action_to_the_bit(name: str) -> None:
    """The same θ, compiled as users have it."""
    one, other = as_token_and_as_action(name)
    if name == "ppo-kl":
        np.testing.assert_array_max_ulp(one, other, 1)
    else:
        np.testing.assert_array_equal(one, other)


def learnt(
    settings: Settings = SETTINGS, algorithm: Any = ALGORITHMS["ppo"], **more: Any
) -> Learnt:
    theta, model = tiny_model()
    state = initial_state(algorithm, model, theta)
    parts = (state, more.get("reference", theta), completions(**more.get("played", {})))
    run = make_learn(algorithm, settings)
    return run("all", model, theta, *parts, more.get("price", NOTHING), jax.random.key(0), NOTHING)


def test_what_is_frozen_is_no_constant_of_the_program() -> None:
    """Of the compiled update: the frozen head and the reference come as arguments."""
    theta, model = frozen_head_model()
    assert len(jax.tree.leaves(model)) > 0
    algorithm = ALGORITHMS["trpo"]
    arguments = (initial_state(algorithm, model, theta), theta, completions(), NOTHING)
    run = make_learn(algorithm, SETTINGS)
    program = run.lower("all", model, theta, *arguments, jax.random.key(0), NOTHING).as_text()
    constants = re.findall(r"constant dense<([\[\"])[^>]*> : tensor<([0-9x]*)x[a-z]", program)
    sizes = [math.prod(map(int, shape.split("x"))) for _, shape in constants]
    assert max(sizes, default=0) < 32, sizes


def true_kl(learnt_theta: jax.Array, played: Any) -> float:
    """Mean KL(old‖new) over action tokens in float64, from the logits of all tokens."""
    theta, model = tiny_model()
    weight = np.asarray(played.weight) > 0
    rows, slots = np.nonzero(weight)
    columns = np.asarray(played.positions)[rows, slots]

    @jax.jit
    def log_probabilities(at: jax.Array) -> jax.Array:
        logits = model.unravel(at).actor.decoder.logits(played.tokens, played.valid)
        return jax.nn.log_softmax(logits.astype(jnp.float64) / 0.7)

    log_p, log_q = (
        np.asarray(log_probabilities(at))[rows, columns] for at in (theta, learnt_theta)
    )
    return float((np.exp(log_p) * (log_p - log_q)).sum(-1).mean())


@pytest.mark.compiles
@pytest.mark.parametrize("name", ["ppo", "grpo", "gspo", "cispo", "trpo"])
def test_the_true_kl_of_an_update_is_bounded(name: str) -> None:
    """For every preset; the bound binds, and the kl that is told is the true one."""
    more = {"minibatch_size": 4, "learning_rate": 3e-3} if name != "trpo" else {}
    sizes = (
        {"prompts": 4, "generations": 2, "fisher_subsample": 1}
        if name == "trpo"
        else {
            "prompts": 4,
            "generations": 2,
        }
    )
    config = configure("sort", name, {"max_kl": 1e-3, **sizes, **more})
    found = learnt(replace(config.settings, critic_epochs=1), config.algorithm)
    with jax.enable_x64(True):
        kl = true_kl(found.theta, completions())
    assert 1e-4 < kl <= 1e-3
    assert float(found.report.kl) == pytest.approx(kl, rel=1e-3)


def test_group_methods_are_ppo_with_other_advantages() -> None:
    theta, model = tiny_model()
    played = completions()

    def advantage(**settings: Any) -> np.ndarray:
        chosen = replace(SETTINGS, **settings)
        of = jax.jit(lambda *parts: prepare(model, *parts, NOTHING, chosen).advantage)
        return np.asarray(of(theta, theta, played))

    weight = np.asarray(played.weight)
    returns = (np.asarray(played.reward) * weight).sum(1).reshape(4, 2)
    standard = (returns - returns.mean(1, keepdims=True)) / returns.std(1, keepdims=True)
    grpo = advantage(advantage="group", aggregation="sequence")
    lengths = weight.sum(1)
    expected = standard.reshape(8, 1) * (weight.sum() / 8 / lengths)[:, None] * weight
    np.testing.assert_allclose(grpo, expected, atol=1e-4)
    dapo = advantage(advantage="group", aggregation="token")
    dr_grpo = advantage(advantage="group-mean", aggregation="constant")
    for other in (dapo, dr_grpo):
        factor = (other / np.where(grpo == 0, 1, grpo)).max(1, keepdims=True)
        np.testing.assert_allclose(other, factor * grpo, atol=1e-5)


def test_what_is_no_action_changes_nothing() -> None:
    """Padding, and whatever stands under weight 0: the update is the same."""
    played = completions()
    used, said = played.weight > 0, played.valid
    garbage = played._replace(
        tokens=jnp.where(said, played.tokens, 5),
        action=jnp.where(used, played.action, 3),
        reward=jnp.where(used, played.reward, jnp.nan),
    )
    theta, model = tiny_model()
    algorithm = ALGORITHMS["ppo"]
    state = initial_state(algorithm, model, theta)
    run = make_learn(algorithm, SETTINGS)
    one, other = (
        run("all", model, theta, state, theta, part, NOTHING, jax.random.key(0), NOTHING)
        for part in (played, garbage)
    )
    np.testing.assert_allclose(one.theta, other.theta, atol=1e-6)
    assert float(one.report.details["kl_sequence"]) > 0


@pytest.mark.compiles
def test_a_reference_in_the_loss_pulls_towards_it() -> None:
    theta, _ = tiny_model()
    away = theta + 0.1 * jax.random.normal(jax.random.key(5), theta.shape)
    adam = PPO(epochs=4, minibatch_size=8, learning_rate=1e-3)
    held = replace(SETTINGS, reference_coefficient=50.0, reference_kl="loss", reference_target=0.1)
    free = learnt(replace(held, reference_coefficient=1e-9), adam, reference=away)
    pulled = learnt(held, adam, reference=away, price=jnp.asarray(50.0))
    far, near = (float(each.report.details["kl_reference"]) for each in (free, pulled))
    assert near < 0.9 * far
    assert float(pulled.reference_coefficient) == pytest.approx(50 * 1.1)


@pytest.mark.parametrize("frozen", [slow(False), True], ids=["whole", "head frozen"])
def test_the_fisher_product_through_attention_is_that_of_its_definition(frozen: bool) -> None:
    """E[∇log π ∇log πᵀ]·v, over the whole vocabulary in every state with weight."""
    theta, model = frozen_head_model() if frozen else tiny_model()
    part = theta[: model.policy_end]
    batch = prepared(model, theta, completions())
    tokens = jnp.broadcast_to(jnp.arange(8)[:, None, None], (8, *batch.weight.shape))

    def log_probabilities(at: jax.Array) -> jax.Array:
        return jax.vmap(model.policy(at, batch.inputs).log_prob)(tokens)

    @jax.jit
    def scores(at: jax.Array) -> tuple[jax.Array, jax.Array]:
        likely, pullback = jax.vjp(log_probabilities, at)
        rows = jnp.eye(likely.size).reshape(-1, *likely.shape)
        # One row after the other: of all 128 at once, the last ones come out wrong on the CPU.
        return likely, jax.lax.map(lambda row: pullback(row)[0], rows)

    likely, score = (np.asarray(found, np.float64) for found in scores(part))
    score = score.reshape(*likely.shape, -1)
    chance = np.exp(likely) * np.asarray(batch.weight)
    vector = np.asarray(jax.random.normal(jax.random.key(4), part.shape))
    explicit = np.einsum("vsa,vsan,vsam,m->n", chance, score, score, vector, optimize=True)
    explicit /= np.asarray(batch.weight).sum()
    product = jax.jit(fisher_vector_product)(
        model.policy, part, batch.inputs, jnp.asarray(vector), weight=batch.weight
    )
    assert np.linalg.norm(product - explicit) <= 1e-5 * np.linalg.norm(explicit)


def sampled(sampling: Sampling, decoder: Any = None) -> Any:
    """Two tokens after each prompt, as the sampler writes and records them."""
    prompts = np.random.default_rng(1).integers(0, VOCABULARY, (8, PROMPT))
    parts = (np.ones(prompts.shape, bool), jax.random.key(2), jnp.arange(8))
    limits = TurnLimits(ACTIONS)
    record, cut = generate(decoder or tiny_decoder(), prompts, *parts, limits, sampling)
    return completions_of(record, ~cut, cut, jnp.arange(8), ACTIONS)


def dropped(decoder: Any) -> Any:
    """The decoder with a tenth of the MLP's last map at 0: as dropout would have it."""
    kept = jax.random.bernoulli(jax.random.key(0), 0.9, decoder.blocks.down.weight.shape)
    return eqx.tree_at(lambda of: of.blocks.down.weight, decoder, replace_fn=lambda w: w * kept)


def masked(played: Any) -> Any:
    """Each prompt's second token is not seen by the policy that learns."""
    return played._replace(valid=played.valid.at[:, 1].set(False))


@pytest.mark.compiles
def test_the_policy_that_learns_is_the_one_that_sampled() -> None:
    own = Sampling(0.7)
    planted = {
        "none": sampled(own),
        "temperature": sampled(Sampling(1.0)),
        "top-k": sampled(Sampling(0.7, top_k=4)),
        "dropout": sampled(own, dropped(tiny_decoder())),
        "mask": masked(sampled(own)),
    }
    theta, model = tiny_model()
    error = {
        name: float(ratio_error(played, prepare(model, theta, theta, played, NOTHING, SETTINGS)))
        for name, played in planted.items()
    }
    assert error.pop("none") <= 2e-6
    assert min(error.values()) > MISMATCH, error
