"""Microseconds of one minibatch and of one action: klamp's, plain JAX's, and the arithmetic's.

``python benchmarks/kernel.py`` pins itself to one core and counts processor time, so that other
work on the machine disturbs it little; each figure is the least of many repeats and the median.
Written to `results/kernel.md`.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import RESULTS, environment, machine, provenance, write

WORK: dict[str, Any] = {
    "algorithm": "ppo",
    "env": "CartPole-v1",
    "num_envs": 8,
    "rollout_length": 256,
    "epochs": 10,
    "minibatch_size": 64,
    "hidden_sizes": (64, 64),
    "cg_iterations": 15,
    "seed": 0,
}
REPEATS = 40


def measured(name: str, unit_count: int, function: Callable[[], Any], repeats: int) -> str:
    """The processor time of one unit, of which a call has ``unit_count``, as a row; printed."""
    function()
    times: list[float] = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        times.append((time.process_time() - began) / unit_count * 1e6)
    print(f"{name:52s} {min(times):8.1f} {statistics.median(times):8.1f}", flush=True)
    return f"| {name} | {min(times):,.1f} | {statistics.median(times):,.1f} |"


def first_update(work: dict[str, Any]) -> tuple[Any, Callable[[], Any], Any]:
    """A run after one iteration, its update on that rollout again, and θ."""
    from systems.klamp import configuration, kept_update

    from klamp.training.iteration import start

    run, state = start(configuration(work))
    update, arguments = kept_update(run, state)
    return run, update, arguments[0]


def plain() -> Callable[[], Any]:
    """The update of `systems/plain_jax.py`, on data of the same form."""
    import jax
    import optax
    from systems.plain_jax import make_update, perceptron

    keys = jax.random.split(jax.random.key(0), 8)
    shape = (WORK["rollout_length"], WORK["num_envs"])
    hidden = WORK["hidden_sizes"]
    parameters = {
        "policy": perceptron(keys[0], [4, *hidden, 2]),
        "value": perceptron(keys[1], [4, *hidden, 1]),
    }
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-4, eps=1e-5))
    rollout = (
        jax.random.normal(keys[2], (*shape, 4)),
        jax.random.normal(keys[3], (*shape, 4)),
        jax.random.randint(keys[4], shape, 0, 2),
        jax.random.normal(keys[5], shape),
        jax.random.bernoulli(keys[6], 0.02, shape).astype(float),
    )
    update, state = make_update(WORK, optimizer), optimizer.init(parameters)
    return lambda: jax.block_until_ready(update(parameters, state, rollout, keys[7]))


def arithmetic(minibatches: int) -> Callable[[], Any]:
    """The products and tanh of a minibatch, forwards and backwards, alone.

    Every product has its factors as XLA's library has them fastest; nothing is gathered, and of
    the loss, the biases and the optimiser there is nothing.
    """
    import jax
    import jax.numpy as jnp

    size, (first, second) = WORK["minibatch_size"], WORK["hidden_sizes"]
    key = jax.random.key(0)
    x = jax.random.normal(key, (size, 4))

    def network(weights: Any) -> Any:
        w1, w2, w3 = weights
        h1 = jnp.tanh(x @ w1)
        h2 = jnp.tanh(h1 @ w2)
        g3 = h2 @ w3 * 1e-3
        g2 = (g3 @ w3.T) * (1 - h2 * h2)
        g1 = (g2 @ w2.T) * (1 - h1 * h1)
        left = jax.lax.optimization_barrier((x.T, h1.T, h2.T))
        moves = zip(weights, left, (g1, g2, g3), strict=True)
        return tuple(w - 1e-4 * (a @ g) for w, a, g in moves)

    def weights(outputs: int) -> Any:
        shapes = ((4, first), (first, second), (second, outputs))
        return tuple(0.1 * jax.random.normal(key, shape) for shape in shapes)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        return (network(carry[0]), network(carry[1])), None

    run = jax.jit(lambda start: jax.lax.scan(step, start, None, length=minibatches)[0])
    start = (weights(2), weights(1))
    return lambda: jax.block_until_ready(run(start))


def acting(run: Any, theta: Any) -> dict[str, Callable[[], Any]]:
    """A rollout's actions, its environment's steps, and both by turns."""
    import numpy as np

    from klamp.collection.collector import BehaviorPolicy
    from klamp.runtime.seeding import Purpose, key_words

    source, length = run.collector, WORK["rollout_length"]
    behavior = BehaviorPolicy(theta, None, key_words(2, Purpose.ACT))
    noise = source._noise(key_words(1, Purpose.ACT))
    seen = source.compile(behavior).observation[0]
    act = source._act(theta, None, noise, seen)
    step, translate = source.environments.step, source._decode
    stored = [np.asarray(act(seen, t)) for t in range(length)]
    return {
        "an action": lambda: [np.asarray(act(seen, t)) for t in range(length)],
        "a step of the environment": lambda: [step(translate(a)) for a in stored],
        "an action and a step, by turns": lambda: [
            step(translate(np.asarray(act(seen, t)))) for t in range(length)
        ],
        "collection, a step": lambda: source.collect(behavior),
    }


def main() -> None:
    """Measure on the core asked for, else the first allowed."""
    if hasattr(os, "sched_setaffinity"):
        core = int(sys.argv[1]) if len(sys.argv) > 1 else min(os.sched_getaffinity(0))
        os.sched_setaffinity(0, [core])
    os.environ.update(environment(1, Path.home() / ".cache"))
    print(f"{'µs of processor time':52s} {'least':>8s} {'median':>8s}")
    minibatches = WORK["epochs"] * WORK["num_envs"] * WORK["rollout_length"] // 64
    run, update, theta = first_update(WORK)
    whole, floor = plain(), arithmetic(minibatches)
    rows = [
        measured("PPO, a minibatch: klamp's whole update", minibatches, update, REPEATS),
        measured("PPO, a minibatch: plain JAX's whole update", minibatches, whole, REPEATS),
        measured("PPO, a minibatch: products and tanh alone", minibatches, floor, REPEATS),
    ]
    _, update, _ = first_update(WORK | {"algorithm": "trpo", "rollout_length": 512})
    rows.append(measured("TRPO, an update", 1, update, REPEATS))
    for name, function in acting(run, theta).items():
        rows.append(measured(name, WORK["rollout_length"], function, REPEATS))
    write(RESULTS / "kernel.md", page(rows))


def page(rows: list[str]) -> str:
    """`kernel.md`."""
    lines = [
        "# Where the time goes",
        "",
        f"Made by `python benchmarks/kernel.py` at commit {provenance().get('commit', '?')} on "
        f"{machine()['processor']}, one thread: PPO, CartPole-v1, 8 environments × 256 steps, 10 "
        "epochs, minibatch 64, 64×64 tanh; TRPO 8 × 512, 15 CG iterations, 10 critic epochs.",
        "",
        "| µs of processor time | least | median |",
        "|---|---:|---:|",
        *rows,
        "",
        "A whole update is all that follows a rollout: values, old log-probabilities, advantages, "
        "the epochs and, for klamp, the report. The products and tanh alone are what no update can "
        "do without.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
