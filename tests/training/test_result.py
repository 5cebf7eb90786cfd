"""What a run has led to."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import klamp
from klamp.runs.manifest import Spent
from klamp.runs.metrics_log import MetricsLog
from klamp.training.result import result_of

EPISODES = SimpleNamespace(finished=1, return_mean=3.0, length_mean=4.0)
STATE: Any = SimpleNamespace(step=48, update=3, episodes=EPISODES)
RUN: Any = SimpleNamespace(policy=lambda state: f"the policy of step {state.step}")
LINES: list[dict[str, Any]] = [
    {"step": 16, "update": 1, "outcome": "ACCEPTED", "kl": 0.1, "eval_return_mean": 5.0},
    {"step": 32, "update": 2, "outcome": "LINE_SEARCH_EXHAUSTED", "kl": 0.2},
    {"step": 48, "update": 3, "outcome": "ACCEPTED", "kl": 0.3},
]


def result(folder: Path, written: int, unwritten: int, stopped: str | None) -> klamp.Result:
    """Of a run of three updates, with so many lines on the disk, and so many in memory."""
    log = MetricsLog(folder / "metrics.jsonl")
    for line in LINES[:written]:
        log.append(line)
    log.close()
    waiting = LINES[len(LINES) - unwritten :]
    return result_of(RUN, STATE, folder, Spent(9.0, 2.0, 1.0), waiting, stopped)


def test_the_summary_is_the_last_line_with_counters_and_times(tmp_path: Path) -> None:
    for written, unwritten in ((3, 0), (2, 1)):
        folder = tmp_path / str(written)
        folder.mkdir()
        found = result(folder, written, unwritten, "the threshold was reached")
        assert found.metrics == LINES
        assert found.policy == "the policy of step 48"
        assert found.summary == LINES[-1] | {
            "episodes": 1, "return_mean": 3.0, "length_mean": 4.0,
            "wall_s": 9.0, "compile_s": 2.0, "eval_s": 1.0,
            "folder": str(folder), "updates_refused": 1,
            "stopped": "the threshold was reached", "eval_return_mean": 5.0,
        }  # fmt: skip


def test_the_summary_is_of_the_policy_where_lines_were_lost(tmp_path: Path) -> None:
    found = result(tmp_path, 1, 0, None)
    assert found.metrics == LINES[:1]
    assert (found.summary["update"], found.summary["step"]) == (3, 48)
    assert "kl" not in found.summary
    assert "stopped" not in found.summary


def test_a_result_is_shown_in_one_short_line(trained: klamp.Result) -> None:
    mean = trained.summary["return_mean"]
    step = f"{trained.summary['step']:,}"
    folder = str(trained.folder)
    assert repr(trained) == (
        f"Result(CartPole-v1, ppo, {step} steps, mean return {mean:.1f}, folder={folder!r})"
    )
    none = replace(trained, summary=trained.summary | {"return_mean": None})
    assert "no episode ended" in repr(none)
