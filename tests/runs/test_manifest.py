"""A manifest is of the form it is written in, in every part, or it is none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from klamp.runs.bounded_read import Unreadable
from klamp.runs.manifest import FORMAT, FileFacts, Manifest, Spent, read_manifest

WHOLE = Manifest(12, {"state.json": FileFacts(3, "a" * 64)}, 1.5, True, spent=Spent(2.5, 1.0))


def written(path: Path, **changes: Any) -> Path:
    data = json.loads(WHOLE.to_json()) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not ...}, indent=1))
    return path


def test_it_comes_back(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path / "M.json")) == WHOLE


def test_one_that_does_not_know_what_was_spent_is_read(tmp_path: Path) -> None:
    old = replace(WHOLE, spent=Spent())
    (tmp_path / "M.json").write_text(old.to_json())
    assert "spent" not in json.loads(old.to_json())
    assert read_manifest(tmp_path / "M.json") == old


def test_a_score_that_is_no_number_is_none() -> None:
    assert json.loads(Manifest(1, {}, float("nan")).to_json())["score"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1),
        ("step", 10**30),
        ("step", True),
        ("step", "1"),
        ("step", ...),
        ("score", "good"),
        ("score", 10**400),
        ("keep", 1),
        ("files", []),
        ("files", {f"{n}.json": {"bytes": 1, "sha256": "a" * 64} for n in "abcdefghi"}),
        ("files", {"../x.json": {"bytes": 1, "sha256": "a" * 64}}),
        ("files", {"/etc/passwd": {"bytes": 1, "sha256": "a" * 64}}),
        ("files", {"a\0.json": {"bytes": 1, "sha256": "a" * 64}}),
        ("files", {"state.json": {"bytes": 10**13, "sha256": "a" * 64}}),
        ("files", {"state.json": {"bytes": 1, "sha256": "A" * 64}}),
        ("files", {"state.json": {"bytes": 1}}),
        ("files", {"state.json": 3}),
        ("made_with", {"jax": 3}),
        ("made_with", {"jax": "x" * 300}),
        ("made_with", ...),
        ("spent", 3),
        ("spent", {"wall_s": -1}),
        ("spent", {"wall_s": "1"}),
        ("spent", {"more": 1.0}),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=f"wrong in `{name}`"):
        read_manifest(written(tmp_path / "M.json", **{name: value}))


@pytest.mark.parametrize("changes", [{"step": 13}, {"score": 1.25}, {"keep": False}])
def test_a_change_that_has_a_meaning_is_noticed_by_the_sum(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(Unreadable, match=r"has the SHA-256 sum .*, expected "):
        read_manifest(written(tmp_path / "M.json", **changes))
    with pytest.raises(Unreadable, match="expected 'missing'"):
        read_manifest(written(tmp_path / "M.json", sha256=...))


def test_a_blank_that_was_not_written_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "M.json")
    for text in (path.read_text() + "\n", path.read_text().replace(": ", ":", 1)):
        path.write_text(text)
        with pytest.raises(Unreadable, match="not in the form"):
            read_manifest(path)


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="has the unknown part 'more'"):
        read_manifest(written(tmp_path / "M.json", more=1))


@pytest.mark.parametrize("found", [FORMAT + 1, "1", None, [1], ...])
def test_another_format_says_who_wrote_it(found: Any, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"written by klamp .*reads format 1"):
        read_manifest(written(tmp_path / "M.json", format=found))
