"""`klamp export`."""

from dataclasses import make_dataclass
from pathlib import Path
from typing import Literal

from klamp.cli.evaluation import checkpoint_named
from klamp.cli.options import parse
from klamp.errors import ConfigError, printable

SUFFIX = {"onnx": ".onnx", "numpy": ".npz"}
"""The file suffix of each format."""


def export(words: list[str]) -> int:
    """`klamp export DIR --format onnx|numpy --out FILE`."""
    import tyro

    options = make_dataclass(
        "ExportOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("format", Literal["onnx", "numpy"], "onnx"),
            ("out", Path | None, None),
            ("checkpoint", str, "last"),
            ("trust", bool, False),
        ],
    )
    options.__doc__ = """Write the policy of a run as a file that runs without klamp.

    Args:
        folder: The run's folder, or that of one of its checkpoints.
        format: onnx, one graph from observation to action for ONNX runtimes; numpy, a .npz and the
            short file that runs it with numpy alone.
        out: The file, by default policy.onnx or policy.npz; one that is there is replaced.
        checkpoint: Whose policy: last, best (the highest mean return), or a step.
        trust: Import the module that config.json names, though no klamp of yours wrote it there.
    """
    given = parse(
        options,
        words,
        command="export",
        description="Write the policy of a run as a file that runs without klamp.",
    )
    suffix = SUFFIX[given.format]
    out = given.out or Path("policy").with_suffix(suffix)
    if out.suffix != suffix:
        raise ConfigError(
            f"`--out` of `klamp export` is {out}, but a file of the format {given.format} ends in "
            f"`{suffix}`."
        )
    from klamp.training.train import load

    chosen = checkpoint_named(given.checkpoint)
    policy = load(given.folder, checkpoint=chosen, trust=given.trust)
    written = policy.export(out)
    files = ", ".join(printable(str(path)) for path in written)
    print(
        f"{printable(policy.config.env)}: wrote {files}; the actions are those of the policy on "
        "64 random observations"
    )
    return 0
