"""klamp's time to a threshold, from the start of the process, at its preset for the environment.

The threshold is on the mean return of the last 100 training episodes, of which there must be 100.
"""

import tempfile
from pathlib import Path
from typing import Any

from systems.common import Measurement, Work, main, reached, versions


def measure(work: Work) -> Measurement:
    """``klamp.train`` as anybody would call it, watched by its reporter."""
    from klamp.config.presets import configure
    from klamp.training.callbacks import Reporters, UpdateEvent
    from klamp.training.train import train_config

    found: Measurement = {}

    class Watch:
        def update(self, event: UpdateEvent) -> None:
            metrics = event.metrics
            enough = metrics["episodes"] >= 100 and metrics["return_mean"] >= work["threshold"]
            if enough and not found:
                found.update(reached(work, metrics["step"]))
                event.stop("the threshold is reached")

    settings: dict[str, Any] = {"seed": work["seed"]}
    settings |= {"steps": work["steps"]} if work.get("steps") else {}
    config = configure(work["env"], work["algorithm"], settings)
    with tempfile.TemporaryDirectory() as folder:
        train_config(config, out=Path(folder) / "run", reporters=Reporters([Watch()]))
    if not found:
        raise SystemExit(f"not reached within {config.settings.steps:,} steps")
    return found | {"versions": versions("klamp", "jax", "jaxlib", "gymnasium", "numpy")}


if __name__ == "__main__":
    main(measure)
