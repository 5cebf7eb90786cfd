"""``klamp compare``: pooled seeds, honest intervals, one page that loads nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import klamp
from klamp.comparison import compare, interval


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
        ("metrics.jsonl", '{"update": 1}\n', "metrics.jsonl has 'nothing' as `return_mean`"),
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
