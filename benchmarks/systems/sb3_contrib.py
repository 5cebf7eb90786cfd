"""sb3-contrib TRPO: its own ``learn`` loop over a DummyVecEnv, on the processor."""

import time

from systems.common import Measurement, Work, main, versions
from systems.sb3 import measure_model


def measure(work: Work) -> Measurement:
    """TRPO; what the work does not name stays at the library's defaults."""
    began = time.perf_counter()
    from sb3_contrib import TRPO

    result = measure_model(
        work,
        TRPO,
        began,
        n_critic_updates=work["epochs"],
        cg_max_steps=work["cg_iterations"],
    )
    found = versions("sb3-contrib", "stable-baselines3", "torch", "gymnasium", "numpy")
    return result | {"versions": found}


if __name__ == "__main__":
    main(measure)
