"""Exported policies, by onnxruntime and by numpy, beside the policy itself on 1,000 observations.

    python benchmarks/export.py [--rows 1000] [--only 'box*']

For each kind of observation and of action, and with normaliser, mask, hidden state and
convolutions, a policy with random parameters is exported in both formats. Its actions and values on
random observations of its space are compared with those of ``policy.act(deterministic=True)`` and
``policy.value``. Writes ``results/export.md``; exits with 1 where something differs by over 1e-5.
"""

import argparse
import fnmatch
import importlib.metadata
import io
import sys
from pathlib import Path
from typing import Any

import harness

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "discrete": ("discrete", {}),
    "multidiscrete": ("multidiscrete", {}),
    "multibinary": ("multibinary", {}),
    "box, clip": ("box", {}),
    "box, tanh": ("box", {"action_bounds": "tanh", "action_scale": "state"}),
    "box, beta": ("box", {"action_bounds": "beta"}),
    "box, scheduled": ("box", {"action_scale": "scheduled", "log_std": -1.0}),
    "dict": ("dict", {}),
    "dict, tanh": ("dict", {"action_bounds": "tanh"}),
    "tuple": ("tuple", {}),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalised": {"normalised": True},
    "GRU": {"recurrent_size": 8, "normalised": True},
    "shared, gelu": {"shared_network": True, "activation": "gelu"},
    "masked": {"masked": True},
}
LARGE_IMAGE = "image 40 × 40"
SPREAD = 3.0
"""Parameters are so many times as large as at first, so that actions differ; with images they are
as at first, for five such layers would make features hundreds of times as large."""


def kinds() -> list[tuple[str, str, str]]:
    """Observation, action and variant of each policy.

    Every pair of observation and action as it is; every variant with every action that it fits; the
    GRU and masks with images and a Dict, too.
    """
    from environments import OBSERVATIONS

    every = [*OBSERVATIONS, LARGE_IMAGE]
    found = [(observation, action, "plain") for observation in every for action in ACTIONS]
    for variant in list(VARIANTS)[1:]:
        chosen = [action for action in ACTIONS if variant != "masked" or _has_choices(action)]
        found += [("box", action, variant) for action in chosen]
        if variant in ("GRU", "masked"):
            found += [(observation, "dict", variant) for observation in ("image", "dict")]
    return found


def _has_choices(action: str) -> bool:
    return action.startswith(("discrete", "multidiscrete", "dict"))


def policy_of(observation: str, action: str, variant: str) -> Any:
    """An untrained policy of a kind."""
    import environments
    import numpy as np
    from gymnasium import spaces
    from small_policies import policy

    from klamp.envs.spaces.observations import policy_observation_space
    from klamp.mathematics.normalization import Scaling

    image = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    space = environments.OBSERVATIONS.get(observation, image)
    name, settings = ACTIONS[action]
    settings = {"hidden_sizes": (32, 32)} | settings | VARIANTS[variant]
    if observation.startswith("image"):
        settings.pop("hidden_sizes")
    scaling = None
    if settings.pop("normalised", False) and not observation.startswith("image"):
        rng = np.random.default_rng(0)
        shape = policy_observation_space(space).shape
        parts = (rng.normal(size=shape), rng.uniform(0.2, 3, shape))
        scaling = Scaling(*(part.astype(np.float32) for part in parts))
    spread = 1.0 if observation.startswith("image") else SPREAD
    return policy(space, environments.ACTIONS[name], scaling, spread=spread, **settings)


def compare(kind: tuple[str, str, str], rows: int) -> tuple[float, float]:
    """The largest difference of the ONNX model, and of the numpy form."""
    import onnxruntime

    from klamp.evaluation.export.check import differences
    from klamp.evaluation.export.numpy_archive import numpy_archive
    from klamp.evaluation.export.onnx_model import onnx_model
    from klamp.evaluation.export.policy_graph import exported
    from klamp.runtime.numpy_policy import NumpyPolicy

    policy = policy_of(*kind)
    built = exported(policy)
    session = onnxruntime.InferenceSession(onnx_model(built), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    runner = NumpyPolicy(io.BytesIO(numpy_archive(built)))
    by_onnx = differences(
        policy,
        built,
        lambda given: dict(zip(names, session.run(names, given), strict=True)),
        rows,
    )
    by_numpy = differences(policy, built, lambda given: runner(**given), rows)
    return max(by_onnx.values()), max(by_numpy.values())


def main() -> int:
    """Compare all kinds, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--only", default="*", help="a pattern of observation | action | variant")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder of the results")
    given = parser.parse_args()
    from klamp.evaluation.export.check import TOLERANCE

    found: dict[tuple[str, str, str], tuple[float, float]] = {}
    for kind in kinds():
        if fnmatch.fnmatch(" | ".join(kind), given.only):
            found[kind] = compare(kind, given.rows)
            print(" | ".join(kind), *(f"{x:.1e}" for x in found[kind]), flush=True)
            harness.write(given.out / "export.md", page(found, given.rows))
    return 1 if any(not max(pair) <= TOLERANCE for pair in found.values()) else 0


def page(found: dict[tuple[str, str, str], tuple[float, float]], rows: int) -> str:
    """`export.md`: the largest differences by observation and variant, over all actions."""
    from klamp.evaluation.export.check import TOLERANCE

    about, machine = harness.provenance(), harness.machine()
    good = sum(max(pair) <= TOLERANCE for pair in found.values())
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "numpy")
    )
    lines = [
        "# Exports",
        "",
        "Made by `python benchmarks/export.py`: policies with random parameters, exported as ONNX",
        f"and as numpy, beside `policy.act(deterministic=True)` and `policy.value` on {rows:,}",
        "random observations each (three steps of them with a GRU). The largest difference of any",
        "number of an action or value, relative to 1 or the largest of them, if that is larger; of",
        "integers, the share of rows that differ.",
        "",
        f"**{good} of {len(found)} kinds of policies within {TOLERANCE:g}**"
        + ("." if len(found) == len(kinds()) else f"; {len(kinds()) - len(found)} not run."),
        "",
        f"- klamp {about['klamp']} at {about.get('commit', 'an unknown commit')}, {about['date']}",
        f"- {versions}",
        f"- {machine['processor']}; {machine['system']}, Python {machine['python']}",
        f"- actions: {'; '.join(ACTIONS)}",
        "",
        "| observation | variant | actions | ONNX | numpy |",
        "|---|---|---:|---:|---:|",
    ]
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for (observation, _, variant), pair in found.items():
        groups.setdefault((observation, variant), []).append(pair)
    for (observation, variant), pairs in groups.items():
        worst = [max(column) for column in zip(*pairs, strict=True)]
        lines.append(
            f"| {observation} | {variant} | {len(pairs)} | {worst[0]:.1e} | {worst[1]:.1e} |"
        )
    wrong = [
        f"- {' | '.join(kind)}: ONNX {pair[0]:.1e}, numpy {pair[1]:.1e}"
        for kind, pair in found.items()
        if not max(pair) <= TOLERANCE
    ]
    return "\n".join([*lines, *(["", *wrong] if wrong else [])]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
