"""Language-model policies on the same core: ``import klamp.lm``.

Nothing of the core imports this package. The names below are all there is to import. They are
loaded when first used, so that ``klamp lm train --help`` does not wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klamp.lm.config.presets import PRESETS as PRESETS
    from klamp.lm.config.run import Configuration as Configuration
    from klamp.lm.config.settings import Settings as Settings
    from klamp.lm.environments.environment import TextEnvironment as TextEnvironment
    from klamp.lm.environments.environment import TokenEnvironment as TokenEnvironment
    from klamp.lm.environments.environment import Turn as Turn
    from klamp.lm.evaluation.policy import LanguagePolicy as LanguagePolicy
    from klamp.lm.networks.adapters import LoRA as LoRA
    from klamp.lm.networks.pretrained import Pretrained as Pretrained
    from klamp.lm.networks.pretrained import load_pretrained as load_pretrained
    from klamp.lm.training.sources import Sources as Sources
    from klamp.lm.training.train import Result as Result
    from klamp.lm.training.train import load as load
    from klamp.lm.training.train import resume as resume
    from klamp.lm.training.train import train as train

_MODULES = {
    "config.presets": ("PRESETS",),
    "config.run": ("Configuration",),
    "config.settings": ("Settings",),
    "environments.environment": ("TextEnvironment", "TokenEnvironment", "Turn"),
    "evaluation.policy": ("LanguagePolicy",),
    "networks.adapters": ("LoRA",),
    "networks.pretrained": ("Pretrained", "load_pretrained"),
    "training.sources": ("Sources",),
    "training.train": ("Result", "load", "resume", "train"),
}
_HOME = {name: f"klamp.lm.{module}" for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
