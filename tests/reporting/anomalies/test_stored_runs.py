"""Runs that were trained: a planted fault is found first or second, and nothing in healthy ones.

`python benchmarks/explain.py --runs DIR --store` trains them and stores thirty lines of each.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import names

from klamp.config.run import RunConfig
from klamp.reporting.anomalies.history import History

STORED = json.loads((Path(__file__).parent / "stored_runs.json").read_text())


def stored(run: dict[str, Any]) -> History:
    columns = run["columns"]
    rows = zip(*columns.values(), strict=True)
    lines = [dict(zip(columns, row, strict=True)) for row in rows]
    return History(RunConfig.from_dict(run["config"]), lines)


@pytest.mark.parametrize("name", STORED)
def test_a_trained_run_is_told_as_what_it_is(name: str) -> None:
    found = names(stored(STORED[name]))
    expected = set(STORED[name]["expected"])
    assert found == [] if not expected else expected & set(found[:2]), found


def test_there_are_enough_of_both_kinds() -> None:
    planted = [run for run in STORED.values() if run["expected"]]
    assert len(planted) >= 12
    assert len(STORED) - len(planted) >= 10
    assert len({name for run in planted for name in run["expected"]}) >= 10
