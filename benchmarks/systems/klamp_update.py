"""klamp's update alone: the whole of what follows a rollout, again and again on one rollout."""

import time

from systems.common import Measurement, Work, main, measurement, update_iterations, versions
from systems.klamp import configuration, kept_update


def measure(work: Work) -> Measurement:
    """Keep what the first iteration hands to the update, then hand it over again."""
    began = time.perf_counter()
    from klamp.training.iteration import start

    run, state = start(configuration(work))
    start_s = time.perf_counter() - began
    compiled = time.perf_counter()
    update, _ = kept_update(run, state)
    compiled = time.perf_counter() - compiled
    done = update_iterations(work, update)
    done[0].wall = compiled
    run.close()
    found = versions("klamp", "jax", "jaxlib", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
