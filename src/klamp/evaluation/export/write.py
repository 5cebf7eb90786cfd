"""``policy.export``: build, compare with the policy, and only then write."""

import io
from pathlib import Path
from typing import Any

from klamp.errors import ConfigError
from klamp.evaluation.export.check import check
from klamp.evaluation.export.numpy_archive import numpy_archive, runner_beside
from klamp.evaluation.export.onnx_model import onnx_model
from klamp.evaluation.export.policy_graph import Exportable, exported
from klamp.runs.atomic_write import write_atomically
from klamp.runtime.numpy_policy import NumpyPolicy

ROWS = 64
"""Random observations that a policy is compared on when it is written."""


def export(policy: Exportable, path: str | Path) -> list[Path]:
    """Write a policy as `.onnx` or `.npz`; the files written. See ``TrainedPolicy.export``."""
    path = Path(path)
    if path.suffix not in (".onnx", ".npz"):
        raise ConfigError(
            f"The file to export to is {path}, but its name must end in `.onnx` or `.npz`, which "
            "says the format."
        )
    if not path.parent.is_dir():
        raise ConfigError(f"The folder {path.parent} to export to does not exist. Make it first.")
    built = exported(policy)
    if path.suffix == ".onnx":
        data = onnx_model(built)
        check(policy, built, _onnx_runner(data), ROWS)
        write_atomically(path, data)
        return [path]
    data = numpy_archive(built)
    runner, source = runner_beside(path)
    check(policy, built, lambda inputs: NumpyPolicy(io.BytesIO(data))(**inputs), ROWS)
    write_atomically(path, data)
    write_atomically(runner, source)
    return [path, runner]


def _onnx_runner(data: bytes) -> Any:
    """The model run by ONNX's own reference, which needs no other package."""
    import onnx  # noqa: PLC0415 - an extra
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

    session = ReferenceEvaluator(onnx.load_model_from_string(data))
    names = list(session.output_names)
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))
