"""`completions.jsonl`: lines by update, cut where a run goes on from an earlier one."""

import json
from pathlib import Path
from types import SimpleNamespace

from klamp.lm.evaluation.completions_log import LETTERS, NAME, CompletionsLog, trim


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def written(folder: Path, updates: range, after: int = 0) -> None:
    said = [{"prompt": "3>", "completion": "x" * 5000, "reward": 1.0}, {"prompt": "4>"}]
    log = CompletionsLog(folder, SimpleNamespace(samples=lambda: said), after)
    for update in updates:
        log.update(SimpleNamespace(metrics={"update": update}))
    log.close()


def test_the_lines_of_lost_updates_are_cut_and_made_again(tmp_path: Path) -> None:
    written(tmp_path, range(1, 5))
    assert [line["update"] for line in lines(tmp_path)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert len(lines(tmp_path)[0]["completion"]) == LETTERS
    whole = (tmp_path / NAME).read_bytes()
    written(tmp_path, range(3, 5), after=2)
    assert (tmp_path / NAME).read_bytes() == whole
    trim(tmp_path, 1)
    assert [line["update"] for line in lines(tmp_path)] == [1, 1]
