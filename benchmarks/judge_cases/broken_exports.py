"""What is broken on purpose in exported policies."""

from importlib import import_module
from typing import Any

import numpy as np


def unchecked() -> Any:
    """The module that builds exports, where what it builds is no longer compared when written."""
    import_module("klamp.evaluation.export.write").check = lambda *_, **__: None
    return import_module("klamp.evaluation.export.policy_graph")


def _raw_observations(names: Any) -> None:
    """Exports that forget the normaliser."""
    unchecked().normalize = lambda seen, by: seen


def _unbounded(names: Any) -> None:
    """Exports that do not keep to the bounds of a Box."""
    module = unchecked()
    true = module.action_decoder

    def broken(space: Any, bounds: Any) -> Any:
        decode = true(space, bounds)

        def decoded(action: Any) -> Any:
            import jax

            # A thousandth short of what the environment is given.
            moved = lambda x: x * 0.999 if np.issubdtype(x.dtype, np.floating) else x  # noqa: E731
            return jax.tree.map(moved, decode(action))

        return decoded

    module.action_decoder = broken


def _all_allowed(names: Any) -> None:
    """Exports that choose among all actions."""
    module = unchecked()
    true = module.conditioned
    module.conditioned = lambda found, inputs: true(found, inputs._replace(action_mask=None))


def _never_first(names: Any) -> None:
    """Exports that remember the episode before."""
    module = unchecked()
    true = module.encoded_step
    module.encoded_step = lambda encoder, inputs: true(
        encoder,
        inputs
        if inputs.episode_start is None
        else inputs._replace(episode_start=inputs.episode_start & False),
    )


def _leaning(names: Any) -> None:
    """A file for numpy alone that imports klamp."""
    module = import_module("klamp.evaluation.export.write")
    true = module.runner_beside

    def broken(path: Any) -> Any:
        runner, source = true(path)
        return runner, source.replace("import json", "import json\nimport scipy.special", 1)

    module.runner_beside = broken


def _other_parameters(names: Any) -> None:
    """A policy that is loaded with a parameter a little off, in all its forms alike."""
    true = names.load

    def broken(run: Any) -> Any:
        policy = true(run)
        policy.theta = policy.theta * (1 + 1e-3)
        return policy

    names.load = broken


def _off_by_one(names: Any) -> None:
    """Discrete actions that are counted from 0."""
    spaces = import_module("klamp.envs.spaces.actions")
    true = spaces._shifted
    spaces._shifted = lambda space, start: true(space, start * 0)


def _bits(names: Any) -> None:
    """Entropies in bits."""
    kind = import_module("klamp.evaluation.action_distribution").ActionDistribution
    true = kind.entropy.fget
    kind.entropy = property(lambda self: true(self) / np.log(2))


PLANTS = {
    "an export without the normaliser": _raw_observations,
    "an export that misses the action's transform": _unbounded,
    "an export that ignores the mask": _all_allowed,
    "an export that remembers the episode before": _never_first,
    "the numpy form needs another package": _leaning,
    "all forms of a policy have other parameters": _other_parameters,
    "actions counted from 0": _off_by_one,
    "entropies in bits": _bits,
}
