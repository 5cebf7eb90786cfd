"""klamp, through its own loop: ``start`` once, then ``advance`` again and again."""

import time
from collections.abc import Callable
from typing import Any

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions


class Timed:
    """A function that sums the seconds it takes, its results awaited."""

    def __init__(self, function: Callable[..., Any], wait: Callable[[Any], Any]) -> None:
        self.function, self.wait, self.seconds = function, wait, 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call, wait, add."""
        began = time.perf_counter()
        result = self.wait(self.function(*arguments))
        self.seconds += time.perf_counter() - began
        return result


def configuration(work: Work) -> Any:
    """Put the work as a klamp configuration; no preset takes part."""
    from klamp import PPO, TRPO, RunConfig, Settings

    settings = Settings(
        steps=10**9,
        seed=work["seed"],
        num_envs=work["num_envs"],
        rollout_length=work["rollout_length"],
        hidden_sizes=tuple(work["hidden_sizes"]),
        activation="tanh",
        advantage_normalization="minibatch" if work["algorithm"] == "ppo" else "batch",
        critic_epochs=work["epochs"],
        critic_minibatch_size=work["minibatch_size"],
    )
    if work["algorithm"] == "ppo":
        return RunConfig(
            work["env"],
            PPO(epochs=work["epochs"], minibatch_size=work["minibatch_size"]),
            settings,
        )
    return RunConfig(work["env"], TRPO(cg_iterations=work["cg_iterations"]), settings)


def measure(work: Work) -> Measurement:
    """Warm up, then repeat the same stretch of training from its first state.

    One stretch takes a fraction of a second where a peer needs ten, so it is measured several
    times over: every pass starts from the state that the warm-up left, and so trains over the
    same steps as the peer, with episodes of the same age.
    """
    began = time.perf_counter()
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    from klamp.iteration import start

    run, state = start(configuration(work))
    run.learn = learn = Timed(run.learn, jax.block_until_ready)
    collect = Timed(run.collector.collect, jax.block_until_ready)
    run.collector.collect = collect
    start_s = time.perf_counter() - began

    def iterate(state: Any) -> tuple[Any, Iteration]:
        (wall, cpu), before = now(), int(state.step)
        collect.seconds = learn.seconds = 0.0
        state, _ = run.advance(state)
        (wall_end, cpu_end), steps = now(), int(state.step) - before
        spent = (wall_end - wall, cpu_end - cpu, collect.seconds, learn.seconds)
        return state, Iteration(steps, *spent)

    state, first = iterate(state)
    for _ in range(work["warmup"] - 1):
        state, _ = iterate(state)
    warm, timed = state, []
    while not timed or sum(item.wall for item in timed) < work["seconds"]:
        state = warm
        for _ in range(work["iterations"]):
            state, item = iterate(state)
            timed.append(item)
    found = versions("klamp", "jax", "jaxlib", "gymnasium", "numpy")
    return measurement(start_s, first, timed) | {"versions": found}


if __name__ == "__main__":
    main(measure)
