"""klamp: policies trained within trust regions. TRPO, PPO and the family around them, on JAX.

The names below are all there is to import. They are loaded when first used, so that
``klamp --help`` does not wait for JAX.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klamp.algorithms.context import Context as Context
    from klamp.config.algorithms import A2C as A2C
    from klamp.config.algorithms import NPG as NPG
    from klamp.config.algorithms import PPO as PPO
    from klamp.config.algorithms import REINFORCE as REINFORCE
    from klamp.config.algorithms import TRPO as TRPO
    from klamp.config.algorithms import PPOPenalty as PPOPenalty
    from klamp.config.algorithms.traits import Traits as Traits
    from klamp.config.run import RunConfig as RunConfig
    from klamp.config.search_space import Choice as Choice
    from klamp.config.search_space import Interval as Interval
    from klamp.config.settings import Settings as Settings
    from klamp.envs.device.protocol import DeviceEnvironment as DeviceEnvironment
    from klamp.envs.device.protocol import DeviceStep as DeviceStep
    from klamp.errors import CheckpointError as CheckpointError
    from klamp.errors import ConfigError as ConfigError
    from klamp.errors import EnvironmentFault as EnvironmentFault
    from klamp.errors import KlampError as KlampError
    from klamp.errors import KlampWarning as KlampWarning
    from klamp.errors import NonFiniteError as NonFiniteError
    from klamp.errors import ReporterFault as ReporterFault
    from klamp.errors import RunFolderError as RunFolderError
    from klamp.errors import Stopped as Stopped
    from klamp.evaluation.evaluate import evaluate as evaluate
    from klamp.evaluation.policy import TrainedPolicy as TrainedPolicy
    from klamp.mathematics.advantages import discounted_returns as discounted_returns
    from klamp.mathematics.advantages import gae as gae
    from klamp.mathematics.advantages import standardize as standardize
    from klamp.mathematics.distributions import Categorical as Categorical
    from klamp.mathematics.distributions import DiagonalGaussian as DiagonalGaussian
    from klamp.mathematics.distributions import kl_divergence as kl_divergence
    from klamp.training.callbacks import Reporter as Reporter
    from klamp.training.callbacks import UpdateEvent as UpdateEvent
    from klamp.training.learning import initial_state as initial_state
    from klamp.training.learning import learn_from_batch as learn_from_batch
    from klamp.training.result import Result as Result
    from klamp.training.resume import resume as resume
    from klamp.training.seeds import train_seeds as train_seeds
    from klamp.training.sweep.sweep import SweepResult as SweepResult
    from klamp.training.sweep.sweep import sweep as sweep
    from klamp.training.train import load as load
    from klamp.training.train import train as train
    from klamp.trust_region.conjugate_gradient import CGStatus as CGStatus
    from klamp.trust_region.conjugate_gradient import conjugate_gradient as conjugate_gradient
    from klamp.trust_region.fisher import fisher_vector_product as fisher_vector_product
    from klamp.trust_region.fisher import kl_hessian_vector_product as kl_hessian_vector_product
    from klamp.trust_region.line_search import Backtracking as Backtracking
    from klamp.trust_region.line_search import FullStep as FullStep
    from klamp.trust_region.report import Outcome as Outcome
    from klamp.trust_region.report import StepReport as StepReport
    from klamp.trust_region.step import trust_region_step as trust_region_step
    from klamp.types import Batch as Batch
    from klamp.types import Rollout as Rollout
    from klamp.types import Shared as Shared
    from klamp.types import Update as Update
    from klamp.types import UpdateReport as UpdateReport

_MODULES = {
    "algorithms.context": ("Context",),
    "config.algorithms": ("A2C", "NPG", "PPO", "REINFORCE", "TRPO", "PPOPenalty"),
    "config.algorithms.traits": ("Traits",),
    "config.run": ("RunConfig",),
    "config.search_space": ("Choice", "Interval"),
    "config.settings": ("Settings",),
    "envs.device.protocol": ("DeviceEnvironment", "DeviceStep"),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "EnvironmentFault",
        "KlampError",
        "KlampWarning",
        "NonFiniteError",
        "ReporterFault",
        "RunFolderError",
        "Stopped",
    ),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.policy": ("TrainedPolicy",),
    "mathematics.advantages": ("discounted_returns", "gae", "standardize"),
    "mathematics.distributions": ("Categorical", "DiagonalGaussian", "kl_divergence"),
    "training.learning": ("initial_state", "learn_from_batch"),
    "training.callbacks": ("Reporter", "UpdateEvent"),
    "training.recorder": ("Result",),
    "training.resume": ("resume",),
    "training.seeds": ("train_seeds",),
    "training.sweep.sweep": ("SweepResult", "sweep"),
    "training.train": ("load", "train"),
    "trust_region.conjugate_gradient": ("CGStatus", "conjugate_gradient"),
    "trust_region.fisher": ("fisher_vector_product", "kl_hessian_vector_product"),
    "trust_region.line_search": ("Backtracking", "FullStep"),
    "trust_region.report": ("Outcome", "StepReport"),
    "trust_region.step": ("trust_region_step",),
    "types": ("Batch", "Rollout", "Shared", "Update", "UpdateReport"),
}
_HOME = {name: f"klamp.{module}" for module, names in _MODULES.items() for name in names}

_PARTS = ("distributions", "lm")
"""Modules with names of their own, imported when they are first asked for."""

__all__ = sorted(_HOME)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    from importlib import import_module  # noqa: PLC0415

    if name in _PARTS:
        return import_module(f"klamp.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'klamp' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, *_PARTS])
