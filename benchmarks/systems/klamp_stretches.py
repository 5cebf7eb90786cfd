"""klamp in stretches: some iterations whenever a line comes in, so that two checkouts take turns.

Serves the checkout whose ``src`` is on the path, an older one included. ``kind`` in the work says
what a stretch is: whole iterations, or the update alone on one kept rollout.
"""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from systems.common import Work, now
from systems.klamp import configuration, kept_update


def start(work: Work) -> tuple[Any, Any]:
    """The run and its first state, by the checkout's own ``start``, wherever it lies."""
    flat = importlib.util.find_spec("klamp.iteration") is not None
    home = "klamp.iteration" if flat else "klamp.training.iteration"
    begin = importlib.import_module(home).start
    run, state = begin(configuration(work))
    return run, state


def whole(work: Work) -> Callable[[], int]:
    """Iterations from the state that the warm-up left; the environments go on."""
    run, state = start(work)
    for _ in range(work["warmup"]):
        state, _ = run.advance(state)
    warm = state

    def stretch() -> int:
        state = warm
        for _ in range(work["iterations"]):
            state, _ = run.advance(state)
        return int(state.step) - int(warm.step)

    return stretch


def update(work: Work) -> Callable[[], int]:
    """The update alone, again and again on one rollout."""
    again, _ = kept_update(*start(work))

    def stretch() -> int:
        for _ in range(work["iterations"]):
            again()
        return work["iterations"] * work["num_envs"] * work["rollout_length"]

    return stretch


def main() -> None:
    """Warm up, say so, then one stretch for each line."""
    work: Work = json.loads(sys.argv[1])
    os.sched_setaffinity(0, work["cores"])
    stretch = {"whole": whole, "update": update}[work["kind"]](work)
    stretch()
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = now()
        steps = stretch()
        wall_end, cpu_end = now()
        found = {"steps": steps, "wall_s": wall_end - wall, "cpu_s": cpu_end - cpu}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
