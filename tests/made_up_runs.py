"""Lines of a healthy run that nobody trained, to be spoilt one column at a time."""

from typing import Any

from klamp.config.algorithms import PPO, TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.anomalies.detection import anomalies
from klamp.reporting.anomalies.history import History

UPDATES = 40
COMMON: dict[str, Any] = {
    "kl": 0.008,
    "kl_max": 0.1,
    "surrogate_before": 0.0,
    "surrogate_after": 0.03,
    "entropy": 0.5,
    "choice_entropy_min": 0.5,
    "choice_entropy_min_dimension": 0,
    "explained_variance": 0.7,
    "value_loss": 2.0,
    "clip_fraction": 0.1,
    "ratio_max": 1.5,
    "effective_sample_size": 0.98,
    "outcome": "ACCEPTED",
}
OF_PPO = {"learning_rate": 3e-4, "epochs": 10}
OF_TRPO = {
    "kl_predicted": 0.0078,
    "gain_predicted": 0.04,
    "gain_actual": 0.03,
    "kl_tried": 0.008,
    "gain_tried": 0.03,
    "step_scale": 1.2,
    "backtracks": 0,
    "damping_share": 0.3,
    "kl_resolution": 1e-6,
    "cg_iterations": 10,
    "cg_residual": 0.01,
    "gradient_norm": 0.2,
}


def lines(updates: int = UPDATES, **columns: Any) -> list[dict[str, Any]]:
    """A run that learns; each of ``columns`` is one value, or one of every update."""
    made: list[dict[str, Any]] = []
    for i in range(updates):
        line = {
            "step": 2048 * (i + 1),
            "update": i + 1,
            "episodes": 60 * (i + 1),
            "return_mean": 20.0 + 10 * i,
            "length_mean": 20.0 + 10 * i,
        }
        given = {
            name: value[i] if isinstance(value, list) else value for name, value in columns.items()
        }
        made.append(line | COMMON | given)
    return made


def config(algorithm: Any = None, **settings: Any) -> RunConfig:
    """Settings of such a run."""
    return RunConfig("CartPole-v1", algorithm or PPO(), Settings(**settings))


def of_ppo(algorithm: PPO | None = None, **columns: Any) -> History:
    """A run of PPO."""
    return History(config(algorithm), lines(**OF_PPO | columns))


def of_trpo(algorithm: TRPO | None = None, **columns: Any) -> History:
    """A run of TRPO."""
    return History(config(algorithm or TRPO()), lines(**OF_TRPO | columns))


def names(run: History) -> list[str]:
    """What is found, in order."""
    return [one.name for one in anomalies(run)]
