"""A policy's graph as a `.npz` that ``runtime.numpy_policy`` runs, which is shipped beside it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from klamp.errors import ConfigError
from klamp.evaluation.export.policy_graph import ExportedPolicy
from klamp.runtime import numpy_policy


def numpy_archive(exported: ExportedPolicy) -> bytes:
    """The file of a policy: its constants by number, and its program as JSON text."""
    graph = exported.graph

    def described(named: dict[str, int]) -> dict[str, Any]:
        values = {name: graph.values[number] for name, number in named.items()}
        return {
            name: (named[name], value.shape, value.dtype.name) for name, value in values.items()
        }

    program = {
        "format": numpy_policy.FORMAT,
        "about": exported.about,
        "inputs": described(graph.inputs),
        "outputs": described(graph.outputs),
        "observation": exported.observation,
        "action": exported.action,
        "nodes": [tuple(node) for node in graph.nodes],
    }
    arrays: dict[str, Any] = {str(number): array for number, array in graph.constants.items()}
    file = io.BytesIO()
    np.savez(file, program=json.dumps(program), **arrays)
    return file.getvalue()


def runner_beside(path: Path) -> tuple[Path, str]:
    """Where the file that runs a `.npz` belongs, and its text.

    Raises ``ConfigError`` where another file of that name lies there.
    """
    source = Path(numpy_policy.__file__).read_text(encoding="utf-8")
    runner = path.with_name("numpy_policy.py")
    if runner.exists():
        first = runner.read_bytes()[:1000].decode("utf-8", "replace").split("\n")[0]
        if first != source.split("\n")[0]:
            raise ConfigError(
                f"{runner} is no file of klamp's, and would be replaced by the one that runs "
                f"{path.name}. Export to another folder, or move that file away."
            )
    return runner, source
