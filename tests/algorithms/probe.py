"""A contextual bandit, as batches made by hand: the smallest problem that every algorithm learns.

The observation has three numbers. With discrete actions the right one is told by the sign of the
first number; with continuous actions the right one equals it. The value to learn is the second.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from klamp.algorithms import Context, implementation
from klamp.config.settings import Settings
from klamp.mathematics.advantages import standardize
from klamp.mathematics.distributions import Categorical, DiagonalGaussian
from klamp.networks import ActorCritic, Model, flatten
from klamp.types import Batch, Inputs, Update

SETTINGS = Settings(critic_epochs=2, critic_minibatch_size=16)

quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compiled without optimisation: the tests compile more than they compute."""


class Layer(eqx.Module):
    """tanh(xW + b), or xW + b."""

    weight: Any
    bias: Any
    bent: bool = eqx.field(static=True)

    def __call__(self, x: Any) -> Any:
        out = x @ self.weight + self.bias
        return jnp.tanh(out) if self.bent else out


class DiscreteActor(eqx.Module):
    hidden: Layer
    out: Layer

    def __call__(self, inputs: Inputs) -> Categorical:
        return Categorical(self.out(self.hidden(inputs.observation)))


class ContinuousActor(eqx.Module):
    hidden: Layer
    out: Layer
    log_std: Any

    def __call__(self, inputs: Inputs) -> DiagonalGaussian:
        return DiagonalGaussian(self.out(self.hidden(inputs.observation)), self.log_std)


class Value(eqx.Module):
    hidden: Layer
    out: Layer

    def __call__(self, inputs: Inputs) -> Any:
        return self.out(self.hidden(inputs.observation))[:, 0]


class Encoder(eqx.Module):
    layer: Layer

    def __call__(self, inputs: Inputs) -> Inputs:
        return inputs._replace(observation=self.layer(inputs.observation))


class Separate(eqx.Module):
    def __call__(self, inputs: Inputs) -> Inputs:
        return inputs


@cache
def make_model(*, continuous: bool = False, shared: bool = False) -> tuple[Any, Model]:
    """θ and the model of a policy with two actions (or one number) and a critic."""
    rng = np.random.default_rng(7)

    def layer(size_in: int, size_out: int, bent: bool = True) -> Layer:
        weight = rng.normal(size=(size_in, size_out)) / np.sqrt(size_in)
        return Layer(jnp.asarray(weight, jnp.float32), jnp.zeros(size_out), bent)

    actor = (layer(3, 6), layer(6, 1 if continuous else 2, False))
    return flatten(
        ActorCritic(
            ContinuousActor(*actor, jnp.zeros(1)) if continuous else DiscreteActor(*actor),
            Encoder(layer(3, 3)) if shared else Separate(),
            Value(layer(3, 6), layer(6, 1, False)),
        )
    )


def sample(model: Model, theta: Any, seed: int, *, rows: int = 64) -> tuple[Batch, float]:
    """A batch collected with θ, and the mean reward of its actions."""
    rng = np.random.default_rng(seed)
    inputs = Inputs(jnp.asarray(rng.normal(size=(rows, 3)), jnp.float32))
    old = model.distribution(theta, inputs)
    action = old.sample(jax.random.key(seed))
    first = inputs.observation[:, 0]
    if action.ndim == 1:
        reward = jnp.where(action == (first > 0), 1.0, 0.0)
    else:
        reward = -jnp.square(action[:, 0] - first)
    batch = Batch(
        inputs,
        action,
        standardize(reward),
        old,
        jnp.ones(rows),
        inputs.observation[:, 1],
        model.value(theta, inputs),
    )
    return batch, float(reward.mean())


def context_of(
    model: Model, settings: Any = SETTINGS, seed: int = 0, progress: float = 0.0
) -> Context:
    """What an update of the bandit's model is told."""
    return Context(settings, model, jax.random.key(seed), jnp.asarray(progress))


def compiled(config: Any, model: Model, settings: Settings = SETTINGS) -> Callable[..., Update]:
    """(θ, state, batch, seed=0, progress=0) → the algorithm's jitted update, one for all tests."""
    update = jitted(config, model, settings)

    def call(theta: Any, state: Any, batch: Batch, seed: int = 0, progress: float = 0.0) -> Update:
        return update(theta, state, batch, jax.random.key(seed), jnp.asarray(progress))

    return call


@cache
def jitted(config: Any, model: Model, settings: Settings) -> Callable[..., Update]:
    """(θ, state, batch, key, progress) → the update."""

    @quickly
    def update(theta: Any, state: Any, batch: Batch, key: Any, progress: Any) -> Update:
        parts = implementation(config)
        context = Context(settings, model, key, progress)
        return parts.update(config, context, theta, state, batch)

    return update


@cache
def one_update(
    config: Any,
    *,
    settings: Settings = SETTINGS,
    progress: float = 0.0,
    rows: int = 64,
    **kind: bool,
) -> tuple[Model, Any, Batch, Update]:
    """The model, θ before, the batch and the update of a first step."""
    theta, model = make_model(**kind)
    batch, _ = sample(model, theta, 1, rows=rows)
    state = implementation(config).init(config, model, theta)
    return model, theta, batch, compiled(config, model, settings)(theta, state, batch, 0, progress)


def mean_kl(model: Model, theta: Any, batch: Batch) -> float:
    """Mean KL(old‖π_θ) of a discrete or continuous policy, by the textbook formula in float64."""
    new = model.distribution(theta, batch.inputs)
    if isinstance(new, Categorical):
        p, q = (np.asarray(jax.nn.softmax(d.logits), np.float64) for d in (batch.old, new))
        return float((p * np.log(p / q)).sum(-1).mean())
    m, s = np.asarray(batch.old.mean, np.float64), np.asarray(batch.old.log_std, np.float64)
    n, t = np.asarray(new.mean, np.float64), np.asarray(new.log_std, np.float64)
    terms = t - s + (np.exp(2 * s) + (m - n) ** 2) / (2 * np.exp(2 * t)) - 0.5
    return float(terms.sum(-1).mean())


def flat_grad(model: Model, theta: Any, objective: Callable[[Any, Any], Any], batch: Batch) -> Any:
    """∇_θ objective(π_θ, V_θ) by autodiff of the flat vector, with no code of the algorithms."""

    def of_theta(at: Any) -> Any:
        return objective(model.distribution(at, batch.inputs), model.value(at, batch.inputs))

    return quickly(jax.grad(of_theta))(theta)


def adam_first_step(gradient: Any, *, max_gradient_norm: float) -> np.ndarray:
    """Adam's first direction, by hand: the moments' bias corrections leave g / (|g| + ε)."""
    g = np.asarray(gradient, np.float64)
    g = g * min(1.0, max_gradient_norm / np.linalg.norm(g))
    return g / (np.abs(g) + 1e-5)
