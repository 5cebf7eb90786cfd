"""`episodes.csv`: each episode once, late columns, kills and all."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from klamp.reporting.episodes import EpisodesLog
from klamp.types import Episode


def episode(step: int, **numbers: float) -> Episode:
    return Episode(step, step % 3, None if step > 30 else 7 * step, -0.5 * step, 10, False, numbers)


EVENTS = [
    (1, [episode(10), episode(20, solved=1.0)]),
    (2, []),
    (3, [episode(30, solved=0.0)._replace(terminated=True)]),
    (4, [episode(40, height=2.5)]),
]


def tell(log: EpisodesLog, folder: Path, events: list[Any]) -> None:
    for update, episodes in events:
        told: Any = SimpleNamespace(folder=folder, metrics={"update": update}, episodes=episodes)
        log.update(told)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_per_episode_with_columns_that_come_late(tmp_path: Path) -> None:
    tell(EpisodesLog(), tmp_path, EVENTS)
    rows = table(tmp_path)
    assert [row["update"] for row in rows] == ["1", "1", "3", "4"]
    assert rows[1] == {
        "step": "20",
        "update": "1",
        "environment": "2",
        "seed": "140",
        "return": "-10.0",
        "length": "10",
        "end": "truncated",
        "info_solved": "1.0",
        "info_height": "",
    }
    assert rows[2]["end"] == "terminated"
    assert (rows[3]["seed"], rows[3]["info_solved"], rows[3]["info_height"]) == ("", "", "2.5")


def test_a_run_that_goes_on_writes_the_table_of_one_never_stopped(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    tell(EpisodesLog(), whole, EVENTS)
    for known in range(4):
        (cut / "episodes.csv").unlink(missing_ok=True)
        tell(EpisodesLog(), cut, EVENTS)
        # Killed while it wrote a line that no checkpoint knows, and gone on with from before.
        with (cut / "episodes.csv").open("ab") as file:
            file.write(b"50,5,1,,-2")
        tell(EpisodesLog(), cut, EVENTS[known:])
        assert table(cut) == table(whole)


def test_a_file_that_is_none_of_ours_is_given_up(tmp_path: Path) -> None:
    for text in (b"\x00\xff", b"a,b\n1,2\n", b"update\nmany\n"):
        (tmp_path / "episodes.csv").write_bytes(text)
        tell(EpisodesLog(), tmp_path, EVENTS[:1])
        assert [row["step"] for row in table(tmp_path)] == ["10", "20"]
