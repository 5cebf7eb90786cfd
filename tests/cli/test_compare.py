"""``klamp compare``: pooled seeds, honest intervals, one page that loads nothing."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import klamp
from klamp.cli import compare as comparison
from klamp.cli.compare import compare, interval


def line(**changes: Any) -> str:
    """A line of `metrics.jsonl` with all that is compared."""
    usual = dict.fromkeys([name for name, _ in comparison.PLOTS], 1.0)
    whole: dict[str, Any] = {"update": 1, "step": 1, "steps_per_second": 1.0, **usual}
    return json.dumps(whole | changes) + "\n"


def run(folder: Path, lines: list[str], final: Any = 1.0, **names: str) -> Path:
    """The folder of a run, as far as it is compared."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"env": "E-v1", "algo": "ppo"} | names))
    (folder / "summary.json").write_text(json.dumps({"return_mean": final}))
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def test_interval_covers_the_mean_of_a_known_sample() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = interval(generator.normal(3.0, 1.0, 20))
        covered += low <= 3.0 <= high
    # The percentile bootstrap of 20 values covers a little less than its nominal 95 %.
    assert 0.88 <= covered / 200 <= 0.99


def test_seeds_are_pooled_and_configurations_are_not(trained: klamp.Result, tmp_path: Path) -> None:
    folders = [trained.folder]
    for name, change in (("seed", ('"seed": 3', '"seed": 4')), ("clip", ("0.2,", "0.1,"))):
        copy = tmp_path / name
        shutil.copytree(trained.folder, copy)
        config = (copy / "config.json").read_text()
        assert change[0] in config
        (copy / "config.json").write_text(config.replace(*change))
        folders.append(copy)
    table = compare(folders, tmp_path / "page.html")
    lines = table.splitlines()
    assert len(lines) == 5
    assert "ppo #1" in lines[1]
    assert " 2 " in lines[1]
    assert "ppo #2" in lines[2]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 4
    assert "http" not in page


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("config.json", "[]", "expected a JSON object"),
        ("config.json", '{"algo": "ppo"}', "config.json has 'nothing' as `env`"),
        ("summary.json", '{"return_mean": "high"}', "summary.json has 'high' as `return_mean`"),
        ("metrics.jsonl", "", "metrics.jsonl has no line"),
        ("metrics.jsonl", "{\n", "metrics.jsonl is damaged in line 1"),
        ("metrics.jsonl", '{"update": 1}\n', "metrics.jsonl has 'nothing' as `step` after 0"),
        ("metrics.jsonl", line(step=10**12), "metrics.jsonl has 1000000000000 as `step`"),
        ("metrics.jsonl", line(step=5) + line(step=4), "metrics.jsonl has 4 as `step` after 5"),
        ("metrics.jsonl", line(step=1.0), "metrics.jsonl has 1.0 as `step`"),
        ("metrics.jsonl", line(kl=10**308), "as `kl`"),
        ("metrics.jsonl", line(entropy=-1.7e308), "metrics.jsonl has -1.7e+308 as `entropy`"),
        ("metrics.jsonl", line(steps_per_second=None), "has None as `steps_per_second`"),
        ("summary.json", '{"return_mean": 1e101}', "summary.json has 1e+101 as `return_mean`"),
    ],
)
def test_what_cannot_be_compared_is_named(
    trained: klamp.Result, name: str, content: str, wanted: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.folder, copy)
    (copy / name).write_text(content)
    with pytest.raises(klamp.CheckpointError) as caught:
        compare([copy], tmp_path / "page.html")
    assert wanted in str(caught.value)
    assert not (tmp_path / "page.html").exists()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(klamp.CheckpointError, match="cannot be compared"):
        compare([tmp_path], tmp_path / "page.html")


@pytest.mark.parametrize("name", ["env", "algo"])
@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J\x1b]0;title\a",
        "E-v1\nE-v2  trpo  10  500.0",
        "E-v1  ppo  99  500.0",
        "\u202e1v-E",
        "\ud800",
        "x" * 10**5,
    ],
    ids=["escape", "rows", "cells", "direction", "half", "long"],
)
def test_a_name_of_a_stranger_stays_in_its_cell(name: str, text: str, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", [line(step=1), line(step=2)], **{name: text})
    head, row, *rest = compare([folder], tmp_path / "page.html").splitlines()
    assert len(rest) == 2
    assert row.isprintable()
    # One cell below each title: none of its own, and none that a terminal of 80 columns breaks.
    assert len(re.split(" {2,}", row)) == len(re.split(" {2,}", head)) == 7
    assert head.index("seeds") < 80


def test_a_name_of_a_stranger_is_no_markup_of_the_page(tmp_path: Path) -> None:
    hostile = "</td><script>alert(1)</script><img src='x' onerror=\"y\">&"
    folder = run(tmp_path / "run", [line(step=1), line(step=2)], env=hostile, algo=hostile)
    compare([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    body = page[page.index("<h1>") : page.index("</html>")]
    tags = {element.tag for element in ElementTree.fromstring(f"<page>{body}</page>").iter()}
    drawn = {"svg", "text", "line", "polygon", "polyline"}
    assert tags == {"page", "h1", "h2", "table", "tr", "th", "td"} | drawn


@pytest.mark.parametrize("size", [1e100, -1e100, 1e20, 5e-324, 0.0])
def test_the_largest_and_the_smallest_numbers_are_drawn(size: float, tmp_path: Path) -> None:
    values = dict.fromkeys([name for name, _ in comparison.PLOTS], size)
    flat = [line(step=10, **values), line(step=10, **values), line(step=10**12 - 1, **values)]
    mixed = [line(step=0, **values), line(step=11), line(step=12, **values)]
    folders = [run(tmp_path / "a", flat, size), run(tmp_path / "b", mixed, -size)]
    table = compare([*folders, run(tmp_path / "c", flat, algo="b")], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for text in (table, page):
        assert not re.search(r"\b(nan|inf)\b", text)
    assert max(map(len, table.splitlines())) < 200


def test_what_never_was_is_a_dash(tmp_path: Path) -> None:
    """Every update refused, and no episode ended."""
    never = [line(step=1, kl=None, return_mean=None), line(step=2, kl=None, return_mean=None)]
    table = compare([run(tmp_path / "run", never, None)], tmp_path / "page.html")
    assert table.splitlines()[1].split() == ["E-v1", "ppo", "1", "–", "–", "1", "–"]
    assert "KL(old" not in (tmp_path / "page.html").read_text()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", [])
    (folder / "metrics.jsonl").unlink()
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()):
        make(folder / "metrics.jsonl")
        with pytest.raises(klamp.CheckpointError, match="no plain file"):
            compare([folder], tmp_path / "page.html")
        (folder / "metrics.jsonl").rename(tmp_path / str(len(list(tmp_path.iterdir()))))
