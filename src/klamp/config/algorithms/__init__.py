"""The settings of each algorithm: frozen dataclasses, checked when made.

``config/algorithms/NAME.py`` says what can be set, ``algorithms/NAME.py`` what is done with it.
"""

from typing import Any

from klamp.config.algorithms.a2c import A2C as A2C
from klamp.config.algorithms.npg import NPG as NPG
from klamp.config.algorithms.own import check_own, implements_itself, own_class, own_name
from klamp.config.algorithms.ppo import PPO as PPO
from klamp.config.algorithms.ppo_penalty import PPOPenalty as PPOPenalty
from klamp.config.algorithms.reinforce import REINFORCE as REINFORCE
from klamp.config.algorithms.traits import AlgorithmConfig as AlgorithmConfig
from klamp.config.algorithms.traits import final_values as final_values
from klamp.config.algorithms.trpo import TRPO as TRPO
from klamp.errors import ConfigError, shown

ALGORITHMS: dict[str, type[Any]] = {
    "reinforce": REINFORCE,
    "a2c": A2C,
    "npg": NPG,
    "trpo": TRPO,
    "ppo": PPO,
    "ppo-kl": PPOPenalty,
}
"""The algorithms by the name that `--algo` and `config.json` use."""


def check_algorithm(algorithm: object) -> None:
    """Raise ``ConfigError`` where an algorithm is not the config of one."""
    if type(algorithm) in ALGORITHMS.values():
        return
    if not implements_itself(type(algorithm)):
        raise ConfigError(
            f"The algorithm is {' '.join(repr(algorithm).split())}, but must be a config such as "
            f"`klamp.TRPO(max_kl=0.01)`, or one of the names {', '.join(ALGORITHMS)}."
        )
    check_own(algorithm)


def algorithm_name(algorithm: AlgorithmConfig) -> str:
    """As `config.json` names it, and `--algo` takes it; a user's own is `module:Class`."""
    kind = type(algorithm)
    return next((name for name, known in ALGORITHMS.items() if kind is known), own_name(kind))


def short_name(algorithm: AlgorithmConfig) -> str:
    """The name in messages and folder names."""
    return algorithm_name(algorithm).rpartition(":")[2].rpartition(".")[2]


def algorithm_class(name: object, given: type[Any] | None = None) -> type[Any]:
    """The class that ``algorithm_name`` names; see ``own_class``. Raises ``ConfigError``."""
    if isinstance(name, str) and name in ALGORITHMS:
        return ALGORITHMS[name]
    if isinstance(name, str) and ":" in name:
        return own_class(name, given)
    raise ConfigError(
        f"The configuration names the algorithm {shown(name)}; expected one of "
        f"{', '.join(ALGORITHMS)}, or `module:Class`."
    )
