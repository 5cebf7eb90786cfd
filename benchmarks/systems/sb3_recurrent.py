"""sb3-contrib RecurrentPPO with one LSTM that policy and critic share, on the processor."""

import time

from systems.common import Measurement, Work, main, versions
from systems.sb3 import measure_model


def measure(work: Work) -> Measurement:
    """Recurrent PPO; what the work does not name stays at the library's defaults."""
    began = time.perf_counter()
    from sb3_contrib import RecurrentPPO

    result = measure_model(
        work | {"policy": "MlpLstmPolicy"},
        RecurrentPPO,
        began,
        n_epochs=work["epochs"],
        own_policy={
            "lstm_hidden_size": work["recurrent_size"],
            "shared_lstm": True,
            "enable_critic_lstm": False,
        },
    )
    found = versions("sb3-contrib", "stable-baselines3", "torch", "gymnasium", "numpy")
    return result | {"versions": found}


if __name__ == "__main__":
    main(measure)
