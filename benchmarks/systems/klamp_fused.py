"""klamp over an environment written in JAX: collection and update are compiled programs.

The environment is gymnax's CartPole-v1, as for rejax. Metrics reach the host at each iteration.
"""

import time
from typing import Any

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions
from systems.klamp import configuration, repeat


def measure(work: Work) -> Measurement:
    """Its own iterations, as the training loop calls them."""
    began = time.perf_counter()
    from klamp.training.iteration import start

    run, state = start(configuration(work | {"own_env": f"gymnax:{work['env']}"}))
    start_s = time.perf_counter() - began

    def iterate(state: Any) -> tuple[Any, Iteration]:
        (wall, cpu), before = now(), int(state.step)
        state, _ = run.advance(state)
        (wall_end, cpu_end), steps = now(), int(state.step) - before
        return state, Iteration(steps, wall_end - wall, cpu_end - cpu, 0.0, 0.0)

    first, *timed = repeat(work, state, iterate)
    run.close()
    found = versions("klamp", "gymnax", "jax", "jaxlib", "gymnasium", "numpy")
    return measurement(start_s, first, timed) | {
        "versions": found,
        "not_split": "collected and learnt on the device",
    }


if __name__ == "__main__":
    main(measure)
