"""The manifest of a checkpoint: which files it has, with their sizes and SHA-256 sums."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from klamp.config.validation import is_number
from klamp.errors import shown
from klamp.runs.bounded_read import Unreadable, parse_object, read_bounded
from klamp.runtime.provenance import fingerprint

FORMAT = 1
LIMIT = 2**20
"""Bytes that a manifest may have."""

_PARTS = {"format", "step", "score", "keep", "files", "made_with", "spent", "sha256"}
_SUM = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[a-z]{1,40}\.[a-z]{1,40}")


class FileFacts(NamedTuple):
    """The size and sum that a file must have."""

    size: int
    """Bytes."""
    sha256: str


class Spent(NamedTuple):
    """The seconds that a run took up to a checkpoint, resumed ones included."""

    wall_s: float = 0.0
    compile_s: float = 0.0
    eval_s: float = 0.0


NOTHING_SPENT = Spent()


@dataclass(frozen=True)
class Manifest:
    """Written last: a folder without a whole one is no checkpoint."""

    step: int
    files: dict[str, FileFacts]
    score: float | None = None
    """The policy's mean return; the checkpoint with the best one is never pruned."""
    keep: bool = False
    """Whether it is never pruned."""
    made_with: dict[str, str] = field(default_factory=fingerprint)
    spent: Spent = NOTHING_SPENT
    """Not known of checkpoints that were made before this was written down."""

    def to_json(self) -> str:
        """The content of `MANIFEST.json`."""
        files = {
            name: {"bytes": facts.size, "sha256": facts.sha256}
            for name, facts in self.files.items()
        }
        score = self.score if self.score is not None and math.isfinite(self.score) else None
        parts: dict[str, Any] = {
            "format": FORMAT,
            "step": self.step,
            "score": score,
            "keep": self.keep,
            "files": files,
            "made_with": self.made_with,
        }
        if self.spent != NOTHING_SPENT:
            spent = self.spent._asdict()
            # As in manifests from before runs were evaluated while they train.
            parts["spent"] = spent if self.spent.eval_s else _without(spent, "eval_s")
        return json.dumps(parts | {"sha256": _sum_of(parts)}, indent=1)


def read_manifest(path: Path) -> Manifest:
    """A manifest in exactly the form in which it is written; else ``Unreadable`` names the part."""
    text = read_bounded(path, LIMIT)
    data = parse_object(text, path.name)
    if data.get("format") != FORMAT:
        by = data.get("made_with")
        writer = by.get("klamp") if isinstance(by, dict) else None
        raise Unreadable(
            f"{path.name} has the checkpoint format {shown(data.get('format'), 20)}, written by "
            f"klamp {shown(writer, 20)}; this klamp reads format {FORMAT}. Install the klamp that "
            "wrote it"
        )
    _demand(path, "step", data, _is_count)
    _demand(path, "score", data, lambda value: value is None or is_number(value))
    _demand(path, "keep", data, lambda value: isinstance(value, bool))
    _demand(path, "files", data, _are_files)
    _demand(path, "made_with", data, _are_facts)
    _demand(path, "spent", {"spent": {}} | data, _are_seconds)
    unknown = sorted(set(data) - _PARTS)
    if unknown:
        raise Unreadable(f"{path.name} has the unknown part {shown(unknown[0])}")
    if data.get("sha256") != _sum_of(data):
        raise Unreadable(
            f"{path.name} has the SHA-256 sum {_sum_of(data)}, expected "
            f"{shown(data.get('sha256', 'missing'))}"
        )
    files = {name: FileFacts(of["bytes"], of["sha256"]) for name, of in data["files"].items()}
    spent = Spent(**data.get("spent", {}))
    manifest = Manifest(data["step"], files, data["score"], data["keep"], data["made_with"], spent)
    if manifest.to_json().encode() != text:
        raise Unreadable(f"{path.name} says what it should, but not in the form it is written in")
    return manifest


def _sum_of(parts: dict[str, Any]) -> str:
    """The sum of a manifest without its own sum."""
    said = _without(parts, "sha256")
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _without(parts: dict[str, Any], left_out: str) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if name != left_out}


def _demand(path: Path, name: str, data: dict[str, Any], fits: Any) -> None:
    if name not in data or not fits(data[name]):
        raise Unreadable(f"{path.name} is wrong in `{name}`: {shown(data.get(name, 'missing'))}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12


def _are_files(value: Any) -> bool:
    """Names without a path in them; sizes below a terabyte; sums of 64 hexadecimal digits."""
    return (
        isinstance(value, dict)
        and len(value) <= 8
        and all(
            _FILE.fullmatch(name)
            and isinstance(of, dict)
            and _is_count(of.get("bytes"))
            and isinstance(of.get("sha256"), str)
            and _SUM.fullmatch(of["sha256"])
            for name, of in value.items()
        )
    )


def _are_facts(value: Any) -> bool:
    """Short strings by name."""
    return (
        isinstance(value, dict)
        and len(value) <= 256
        and all(isinstance(fact, str) and len(fact) < 200 for fact in value.values())
    )


def _are_seconds(value: Any) -> bool:
    """Numbers by the names that ``Spent`` has."""
    return (
        isinstance(value, dict)
        and set(value) <= set(Spent._fields)
        and all(is_number(seconds) and seconds >= 0 for seconds in value.values())
    )
