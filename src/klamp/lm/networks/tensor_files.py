"""Tensors of safetensors files: listed and checked by their names before any is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from klamp.errors import closest, printable, shown
from klamp.runs.bounded_read import Unreadable, first_bytes, recognise

PRECISIONS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""The numbers that are read, by the names of the format."""


class Tensor(NamedTuple):
    """Where a tensor lies, and its form."""

    file: Path
    shape: tuple[int, ...]
    precision: str


def list_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """The tensors of the files, by name. Raises ``Unreadable``."""
    found: dict[str, Tensor] = {}
    for file in files:
        start = first_bytes(file)
        kind = None if start[8:9] == b"{" else recognise(start)
        if kind is not None:
            raise Unreadable(f"{file.name} is {kind}")
        try:
            with safetensors.safe_open(file, "np") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    part = opened.get_slice(name)
                    if name in found:
                        raise Unreadable(f"{file.name} has the tensor {shown(name)} a second time")
                    found[name] = Tensor(file, tuple(part.get_shape()), part.get_dtype())
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            if isinstance(error, Unreadable):
                raise
            text = printable(str(error), 200)
            raise Unreadable(f"{file.name} cannot be read as safetensors: {text}") from error
    return found


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """``Unreadable`` unless these are the tensors that are expected, each in its shape."""
    if missing := [name for name in expected if name not in found]:
        hint = closest(missing[0], found)
        raise Unreadable(f"the tensor {missing[0]}{_more(missing)} is missing.{hint}")
    if extra := [name for name in found if name not in expected]:
        raise Unreadable(
            f"the tensor {shown(extra[0])}{_more(extra)} has no place in a decoder of this form"
        )
    for name, (_, shape, precision) in found.items():
        if shape != expected[name]:
            raise Unreadable(
                f"the tensor {name} has the shape {list(shape)}, expected {list(expected[name])}"
            )
        if precision not in PRECISIONS:
            raise Unreadable(
                f"the tensor {name} has numbers of type {shown(precision)}; expected one of "
                f"{', '.join(PRECISIONS)} (quantised models are not read)"
            )


def read_tensor(name: str, tensor: Tensor) -> np.ndarray:
    """The numbers of one tensor, in the file's precision. Raises ``Unreadable``."""
    try:
        with safetensors.safe_open(tensor.file, "np") as opened:
            return opened.get_tensor(name)
    except (safetensors.SafetensorError, OSError) as error:
        text = printable(str(error), 200)
        raise Unreadable(f"{name} of {tensor.file.name} cannot be read: {text}") from error


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
