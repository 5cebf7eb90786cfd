"""klamp, through its own loop: ``start`` once, then ``advance`` again and again."""

import time
from collections.abc import Callable
from typing import Any

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions


class Timed:
    """A function that sums the seconds it takes, its results awaited."""

    def __init__(self, function: Callable[..., Any], wait: Callable[[Any], Any]) -> None:
        self.function, self.wait, self.seconds = function, wait, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call, wait, add."""
        began = time.perf_counter()
        result = self.wait(self.function(*arguments, **named))
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
        hidden_sizes=tuple(work["hidden_sizes"]) or (64, 64),  # images have their own
        activation="tanh",
        shared_network=work.get("shared", False),
        recurrent_size=work.get("recurrent_size", 0),
        advantage_normalization="minibatch" if work["algorithm"] == "ppo" else "batch",
        critic_epochs=work["epochs"],
        critic_minibatch_size=work["minibatch_size"],
    )
    env = work.get("own_env", work["env"])
    if work["algorithm"] == "ppo":
        chosen: Any = PPO(epochs=work["epochs"], minibatch_size=work["minibatch_size"])
    else:
        chosen = TRPO(cg_iterations=work["cg_iterations"], **work.get("own", {}))
    return RunConfig(env, chosen, settings)


def check_pool(work: Work, run: Any) -> None:
    """Refuse to measure Gymnasium's copies under EnvPool's name."""
    asked = work.get("own_env", "").startswith("envpool:")
    if asked and type(run.environments).__name__ == "CopiedEnvironments":
        raise SystemExit("this klamp has no `envpool:` environments")


def kept_update(run: Any, state: Any) -> tuple[Callable[[], Any], tuple[Any, ...]]:
    """The update of a run's next rollout, to be made again and again, and its arguments."""
    import jax

    learn, kept = run.learn, list[tuple[Any, ...]]()

    def record(*arguments: Any) -> Any:
        kept.append(arguments)
        return learn(*arguments)

    run.learn = record
    run.advance(state)
    return lambda: jax.block_until_ready(learn(*kept[0])), kept[0]


def repeat(work: Work, state: Any, iterate: Callable[[Any], Any]) -> list[Iteration]:
    """Warm up, then train the same stretch again and again; the first iteration stands first.

    One stretch takes a fraction of a second where a peer needs ten, so it is measured several
    times over: every pass starts from the state that the warm-up left, and so trains over the
    same steps as the peer, with episodes of the same age.
    """
    state, first = iterate(state)
    for _ in range(work["warmup"] - 1):
        state, _ = iterate(state)
    warm, timed = state, []
    while not timed or sum(item.wall for item in timed) < work["seconds"]:
        state = warm
        for _ in range(work["iterations"]):
            state, item = iterate(state)
            timed.append(item)
    return [first, *timed]


def measure(work: Work) -> Measurement:
    """Its own iterations, with clocks around the collection and the update."""
    began = time.perf_counter()
    import jax

    from klamp.training.iteration import start

    run, state = start(configuration(work))
    check_pool(work, run)
    run.learn = learn = Timed(run.learn, jax.block_until_ready)
    run.collector.collect = collect = Timed(run.collector.collect, jax.block_until_ready)
    start_s = time.perf_counter() - began

    def iterate(state: Any) -> tuple[Any, Iteration]:
        (wall, cpu), before = now(), int(state.step)
        collect.seconds = learn.seconds = 0.0
        state, _ = run.advance(state)
        (wall_end, cpu_end), steps = now(), int(state.step) - before
        spent = (wall_end - wall, cpu_end - cpu, collect.seconds, learn.seconds)
        return state, Iteration(steps, *spent)

    first, *timed = repeat(work, state, iterate)
    run.close()
    found = versions("klamp", "jax", "jaxlib", "gymnasium", "numpy")
    return measurement(start_s, first, timed) | {"versions": found}


if __name__ == "__main__":
    main(measure)
