"""klamp's update alone: the whole of what follows a rollout, again and again on one rollout."""

import time
from typing import Any

from systems.common import Measurement, Work, main, measurement, update_iterations, versions
from systems.klamp import configuration


def measure(work: Work) -> Measurement:
    """Keep what the first iteration hands to the update, then hand it over again."""
    began = time.perf_counter()
    import jax

    from klamp.training.iteration import start

    run, state = start(configuration(work))
    learn, kept = run.learn, []

    def record(*arguments: Any) -> Any:
        kept.append(arguments)
        return learn(*arguments)

    start_s = time.perf_counter() - began
    compiled = time.perf_counter()
    run.learn = record
    run.advance(state)
    compiled = time.perf_counter() - compiled
    done = update_iterations(work, lambda: jax.block_until_ready(learn(*kept[0])))
    done[0].wall = compiled
    run.close()
    found = versions("klamp", "jax", "jaxlib", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
