"""klamp's learning curve at the settings of the row; no preset takes part."""

from typing import Any

from systems.common import Measurement, Work, main, versions
from systems.klamp import configuration


def measure(work: Work) -> Measurement:
    """Train; the mean return of the last 100 training episodes after each iteration."""
    from klamp.training.iteration import start

    run, state = start(configuration(work))
    curve: list[tuple[int, float | None]] = []
    while int(state.step) < work["steps"]:
        state, _ = run.advance(state)
        curve.append((int(state.step), _number(state.episodes.return_mean)))
    run.close()
    return {"curve": curve, "versions": versions("klamp", "jax", "gymnasium", "numpy")}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


if __name__ == "__main__":
    main(measure)
