"""Reading files that may be damaged, foreign or hostile: bounded, plain data, nothing executed."""

import hashlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from klamp.errors import shown
from klamp.runtime.open_flags import flags

DEPTH = 32
"""Levels of nested objects and lists that a JSON file may have."""

_FIRST_BYTES = (
    (b"PK\x03\x04", "a zip archive, such as a PyTorch `.pt` or a Stable-Baselines3 model"),
    (b"\x80", "a Python pickle, such as an old PyTorch `.pt`"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n", "an HDF5 file, such as a Keras model"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<", "a web page or XML"),
)
_TEXT_PICKLE = re.compile(rb"\(?[cdl][\w.]+\n[\w.]+\n")


class Unreadable(ValueError):
    """Why a file was not read."""


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes.

    Links are not followed, and pipes and devices are not waited for. Raises ``Unreadable``.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Unreadable(f"{path.name} has {size:,} bytes, at most {limit:,} expected")
        try:
            return file.read(size)
        except OSError as error:
            raise Unreadable(f"{path.name} cannot be read ({error.strerror})") from error


def summed(path: Path, size: int, sha256: str) -> Iterator[bytes]:
    """A regular file piece by piece; ``Unreadable`` unless it has that size and that sum.

    The sum is known after the last piece: no piece may be used before that.
    """
    digest, first = hashlib.sha256(), b""
    with _opened(path) as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise Unreadable(f"{path.name} has {found:,} bytes, expected {size:,}")
        try:
            while piece := file.read(2**20):
                first = first or piece
                digest.update(piece)
                yield piece
        except OSError as error:
            raise Unreadable(f"{path.name} cannot be read ({error.strerror})") from error
    if digest.hexdigest() != sha256:
        kind = recognise(first)
        what = f" (it is {kind})" if kind else ""
        raise Unreadable(
            f"{path.name} has the SHA-256 sum {digest.hexdigest()}, expected {sha256}{what}"
        )


def lines(path: Path, longest: int, limit: int, start: int = 0) -> Iterator[bytes]:
    """The lines of a regular file of at most ``limit`` bytes, one after the other, with their ends.

    ``start`` is the byte that the first of them begins at. No more of the file is in memory than
    one line of at most ``longest`` bytes. Raises ``Unreadable``.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Unreadable(f"{path.name} has {size:,} bytes, at most {limit:,} expected")
        size = max(0, size - start)
        try:
            file.seek(start)
            # Lines that are written meanwhile are left to the next reader.
            for number in itertools.count(1):
                line = file.readline(min(longest + 1, size))
                if len(line) > longest:
                    raise Unreadable(
                        f"{path.name} is damaged in line {number}: it has over {longest:,} bytes"
                    )
                if not line:
                    return
                size -= len(line)
                yield line
        except OSError as error:
            raise Unreadable(f"{path.name} cannot be read ({error.strerror})") from error


def first_bytes(path: Path, count: int = 512) -> bytes:
    """The beginning of a regular file of any size. Raises ``Unreadable``."""
    try:
        with _opened(path) as file:
            return file.read(count)
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read ({error.strerror})") from error


def _opened(path: Path) -> BinaryIO:
    try:
        handle = os.open(path, flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unreadable(f"{path.name} is missing or no plain file ({why})") from error
    file = os.fdopen(handle, "rb") if stat.S_ISREG(os.fstat(handle).st_mode) else None
    if file is None:
        os.close(handle)
        raise Unreadable(f"{path.name} is no plain file")
    return file


def read_object(path: Path, limit: int) -> dict[str, Any]:
    """A JSON object: UTF-8, no name twice, no NaN, not too deep. Raises ``Unreadable``."""
    return parse_object(read_bounded(path, limit), path.name)


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object that a file of that ``name`` holds. Raises ``Unreadable``."""
    if (kind := recognise(data)) is not None:
        raise Unreadable(f"{name} is {kind}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"{name} cannot be read as JSON: {error.msg} at {where}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{name} holds a {type(value).__name__}; expected a JSON object")
    if _depth(value) > DEPTH:
        raise Unreadable(f"{name} is nested more than {DEPTH} deep")
    return value


def recognise(data: bytes) -> str | None:
    """The kind of a foreign file, by its first bytes; None where it is unknown."""
    if _TEXT_PICKLE.match(data[:256]):
        return "a Python pickle"
    if data[257:262] == b"ustar":
        return "a tar archive"
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**32:
        return "a bare safetensors file"
    return next((kind for start, kind in _FIRST_BYTES if data.startswith(start)), None)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {shown(name)} stands twice in one object")
        found[name] = value
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{shown(digits)} is too large for a number")
    return number


def _depth(value: Any) -> int:
    """How deep objects and lists are nested, found without recursion."""
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > DEPTH:
            break
        inner = [each for each in level if isinstance(each, dict | list)]
        level = [
            child for each in inner for child in (each.values() if isinstance(each, dict) else each)
        ]
    return depth
