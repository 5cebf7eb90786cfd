"""The judge holds its peace where a promise is kept, and reports a planted fault."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

JUDGE = Path(__file__).resolve().parents[1] / "benchmarks" / "judge.py"


def verdict(*words: str) -> tuple[int, str]:
    """One case of the promise about advantages, which takes no run."""
    command = [sys.executable, str(JUDGE), "--only", "advantages", "--minutes", "0.001", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.slow
def test_a_kept_promise_holds_and_the_log_knows_what_was_judged(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"case": 1, "promise": "adv')  # as a kill leaves it
    code, said = verdict("--log", str(log))
    assert code == 0, said
    assert ": held in" in said
    (kept,) = map(json.loads, log.read_text().splitlines())
    assert kept["held"]
    assert said.startswith(f"{kept['case']} advantages")


def test_a_planted_fault_is_reported_with_the_command_that_repeats_it() -> None:
    code, said = verdict("--plant", "truncation taken for termination")
    assert code == 1, said
    assert ": DIFFERS in" in said
    assert "python benchmarks/judge.py --case" in said


def test_a_case_that_does_not_end_is_a_difference() -> None:
    code, said = verdict("--limit", "0.05")
    assert code == 1, said
    assert "no end within 0.05 s" in said
