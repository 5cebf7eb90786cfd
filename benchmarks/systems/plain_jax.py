"""The same PPO update, written as one would in JAX: pytree parameters, plain ``lax.scan``.

What follows a rollout: values, old log-probabilities, GAE, then epochs of shuffled minibatches,
each with its gradient, clipping by the global norm and Adam. All of it is one compiled program.
"""

import time
from typing import Any

from systems.common import Measurement, Work, main, measurement, update_iterations, versions

DISCOUNT, TRACE_DECAY, CLIP, VALUE, MAX_NORM = 0.99, 0.95, 0.2, 0.5, 0.5
LEARNING_RATE = 3e-4
OBSERVATIONS, ACTIONS = 4, 2
"""CartPole's; the data are drawn at random, which costs an update the same."""


def perceptron(key: Any, sizes: list[int]) -> list[dict[str, Any]]:
    """Parameters of a tanh network."""
    import jax

    keys = jax.random.split(key, len(sizes) - 1)
    orthogonal = jax.nn.initializers.orthogonal()
    return [
        {"weight": orthogonal(k, (i, o)), "bias": jax.numpy.zeros(o)}
        for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(layers: list[dict[str, Any]], x: Any) -> Any:
    """The network's output."""
    import jax.numpy as jnp

    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    return x @ layers[-1]["weight"] + layers[-1]["bias"]


def log_probability(parameters: Any, observation: Any, action: Any) -> Any:
    """The actions' log π(a|s)."""
    import jax
    import jax.numpy as jnp

    logits = jax.nn.log_softmax(apply(parameters["policy"], observation))
    return jnp.take_along_axis(logits, action[:, None], 1)[:, 0]


def loss(parameters: Any, batch: Any) -> Any:
    """Clipped surrogate and value loss."""
    import jax.numpy as jnp

    observation, action, old, advantage, target = batch
    ratio = jnp.exp(log_probability(parameters, observation, action) - old)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
    surrogate = jnp.minimum(ratio * advantage, clipped * advantage).mean()
    value = apply(parameters["value"], observation)[:, 0]
    return VALUE * jnp.mean((value - target) ** 2) - surrogate


def gae(reward: Any, value: Any, next_value: Any, ended: Any) -> Any:
    """Advantages [T, N], backwards in time."""
    import jax
    import jax.numpy as jnp

    delta = reward + DISCOUNT * next_value * (1 - ended) - value

    def back(trace: Any, row: Any) -> Any:
        change, end = row
        trace = change + DISCOUNT * TRACE_DECAY * (1 - end) * trace
        return trace, trace

    return jax.lax.scan(back, jnp.zeros(reward.shape[1]), (delta, ended), reverse=True)[1]


def make_update(work: Work, optimizer: Any) -> Any:
    """The jitted update of parameters and optimiser state by a rollout."""
    import jax
    import optax

    size, epochs = work["minibatch_size"], work["epochs"]

    def descend(carry: Any, batch: Any) -> Any:
        parameters, state = carry
        gradient = jax.grad(loss)(parameters, batch)
        change, state = optimizer.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, change), state), None

    def update(parameters: Any, state: Any, rollout: Any, key: Any) -> Any:
        observation, next_observation, action, reward, ended = rollout
        value = apply(parameters["value"], observation)[..., 0]
        next_value = apply(parameters["value"], next_observation)[..., 0]
        advantage = gae(reward, value, next_value, ended)
        flat = observation.reshape(-1, OBSERVATIONS)
        old = log_probability(parameters, flat, action.reshape(-1))
        targets = (advantage + value).reshape(-1)
        batch = (flat, action.reshape(-1), old, advantage.reshape(-1), targets)

        def epoch(carry: Any, key: Any) -> Any:
            order = jax.random.permutation(key, len(old))
            parts = jax.tree.map(lambda x: x[order].reshape(-1, size, *x.shape[1:]), batch)
            return jax.lax.scan(descend, carry, parts)

        return jax.lax.scan(epoch, (parameters, state), jax.random.split(key, epochs))[0]

    return jax.jit(update)


def measure(work: Work) -> Measurement:
    """Repeat the update from the same parameters, on the same rollout."""
    began = time.perf_counter()
    import jax
    import optax

    keys = jax.random.split(jax.random.key(work["seed"]), 8)
    hidden, shape = work["hidden_sizes"], (work["rollout_length"], work["num_envs"])
    parameters = {
        "policy": perceptron(keys[0], [OBSERVATIONS, *hidden, ACTIONS]),
        "value": perceptron(keys[1], [OBSERVATIONS, *hidden, 1]),
    }
    optimizer = optax.chain(
        optax.clip_by_global_norm(MAX_NORM), optax.adam(LEARNING_RATE, eps=1e-5)
    )
    state = optimizer.init(parameters)
    rollout = (
        jax.random.normal(keys[2], (*shape, OBSERVATIONS)),
        jax.random.normal(keys[3], (*shape, OBSERVATIONS)),
        jax.random.randint(keys[4], shape, 0, ACTIONS),
        jax.random.normal(keys[5], shape),
        jax.random.bernoulli(keys[6], 0.02, shape).astype(float),
    )
    update = make_update(work, optimizer)
    start_s = time.perf_counter() - began
    done = update_iterations(
        work, lambda: jax.block_until_ready(update(parameters, state, rollout, keys[7]))
    )
    found = versions("jax", "jaxlib", "optax", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
