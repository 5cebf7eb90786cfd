"""Bad commands, B24, B25 and B96 to B100 of the catalogue: exit code 2 and one paragraph.

In this process where that says the same, since a row then costs milliseconds.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bad_environments import ACCEPTED, FAULTS, WARNED, bad
from stored import Messages

from klamp.cli.main import COMMANDS, main

MESSAGES = Messages("command_line")
TRAIN = "train CartPole-v1"
SMALL = f"{TRAIN} --quiet --steps 64 --num-envs 2 --rollout-length 32"

ROWS = {
    "B18 no name of a device": f"{TRAIN} --device cuda:7",
    "B18 device that is not here": f"{TRAIN} --device gpu",
    "B5 seeds=0": f"{TRAIN} --seeds 0",
    "B5 seeds=1.5": f"{TRAIN} --seeds 1.5",
    "B5 seeds beyond the last": f"{TRAIN} --seeds 2 --seed {2**63 - 1}",
    "B24 output is a file": f"{SMALL} --out file",
    "B24 output lies under a file": f"{SMALL} --out file/run",
    "B24 output lies where nothing can be made": f"{SMALL} --out /proc/klamp/run",
    "B24 output is a broken link": f"{SMALL} --out link",
    "B24 default folder lies under a file": f"{SMALL} --seed 3",
    "B24 output holds something else": f"{SMALL} --out full",
    "B25 another run is there": f"{SMALL} --out other",
    "B96 misspelt command": "tran CartPole-v1",
    "B96 nothing like a command": "zzz",
    "B96 misspelt option": f"{TRAIN} --num-env 4",
    "B96 option with underscores, misspelt": f"{TRAIN} --num_env 4",
    "B96 short option": f"{TRAIN} -s 4",
    "B96 option of another algorithm": f"{TRAIN} --algo trpo --clip 0.2",
    "B96 option of four other algorithms": f"{TRAIN} --algo trpo --learning-rate 1",
    "B96 option by another library's name": f"{TRAIN} --lr 1",
    "B96 option of others by another library's name": f"{TRAIN} --algo trpo --ent-coef 0",
    "B96 file of settings that is not there": f"{TRAIN} --config run.toml",
    "B96 file of settings in no known form": f"{TRAIN} --config file",
    "B96 preset of no algorithm": "presets CartPole-v1 --algo pppo",
    "B96 misspelt algorithm": f"{TRAIN} --algo pppo",
    "B96 algorithm without a name": f"{TRAIN} --algo",
    "B96 misspelt value": f"{TRAIN} --vectorization synch",
    "B96 misspelt switch": f"{TRAIN} --no-quite",
    "B96 no environment": "train --steps 100",
    "B96 two environments": f"{TRAIN} Pendulum-v1",
    "B96 misspelt option of resume": "resume runs --step 5",
    "B96 no folder to resume": "resume",
    "B96 misspelt option of eval": "eval runs --episode 5",
    "B96 nothing to compare": "compare",
    "B97 option twice": f"{TRAIN} --seed 1 --seed 2",
    "B97 option twice, spelt differently": f"{TRAIN} --num-envs 1 --num_envs=2",
    "B97 switch on and off": f"{TRAIN} --quiet --no-quiet",
    "B97 list for a number": f"{TRAIN} --seed 1 2",
    "B97 words for a switch": f"{TRAIN} --quiet yes",
    "B97 value for a switch": f"{TRAIN} --quiet=yes",
    "B97 number with an unknown unit": f"{TRAIN} --steps 10kb",
    "B97 option without a value": f"{TRAIN} --seed --quiet",
    "B97 fraction of a step": f"{TRAIN} --steps 1.5e0",
    "B99 folder is not there": "resume nowhere",
    "B99 folder is a file": "resume file",
    "B99 folder is no run's": "resume full",
    "B99 evaluation of nothing": "eval nowhere",
    "B99 film in no known form": "eval full --video film.avi",
    "B99 comparison with nothing": "compare nowhere",
    "B99 board of nothing": "board nowhere",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a folder with something in it, a link to nowhere, and a file where runs would go."""
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("other").mkdir()
    for name in ("file", "full/notes.txt", "other/config.json", "runs"):
        Path(name).write_text("mine")
    Path("link").symlink_to("nowhere/at/all")
    monkeypatch.setattr("jax.devices", only_a_processor)


def only_a_processor(kind: str = "cpu") -> list[str]:
    """What JAX finds on a machine without accelerators."""
    if kind != "cpu":
        raise RuntimeError(f"Unknown backend {kind}")
    return ["cpu:0"]


def everything() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


@pytest.mark.parametrize("row", ROWS)
def test_rows(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything()
    assert main(ROWS[row].split()) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("klamp: ")
    assert err.endswith("\n")
    MESSAGES.check(row, err[len("klamp: ") : -1])
    assert everything() == before
    assert Path("full/notes.txt").read_text() == Path("runs").read_text() == "mine"


def test_every_stored_message_has_its_row() -> None:
    MESSAGES.check_rows(ROWS)


def numbers(text: str) -> set[int]:
    """The numbers that a text names, as `B7` or `B1 to B5`."""
    found = {int(number) for number in re.findall(r"\bB(\d+)", text)}
    for first, last in re.findall(r"\bB(\d+) to B(\d+)", text):
        found |= set(range(int(first), int(last) + 1))
    return found


def test_every_number_of_the_catalogue_is_accounted_for() -> None:
    """Its row is a test, or the page says why there is none."""
    page = (Path(__file__).parent.parent / "docs" / "bad-input.md").read_text()
    tested, elsewhere = (numbers(part) for part in page.split("## What does not apply here"))
    catalogue = {*range(1, 28), *range(30, 55), *range(60, 101)}
    assert tested | elsewhere == catalogue
    rows = [*FAULTS, *ACCEPTED, *WARNED, *ROWS]
    for name in ("settings", "environments"):
        rows += Messages(name).texts
    ours = set().union(*(numbers(row) for row in rows))
    read_elsewhere = {6, 26, 49, *range(71, 80), 98, 100}
    assert tested - elsewhere <= ours | read_elsewhere | {46}


def test_a_folder_that_cannot_be_written_is_told_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing can be made, no environment is stepped for training and nothing is compiled."""
    from klamp.training.iteration import Iteration

    monkeypatch.setattr(Iteration, "compile", lambda *_: pytest.fail("it began to train"))
    assert main([*SMALL.split(), "--out", "file/run"]) == 2


def process(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import bad_environments; "
        "bad_environments.bad('F21 step raises'); from klamp.cli.main import main; sys.exit(main())"
    )
    tests = str(Path(__file__).parent)
    arguments = [sys.executable, "-c", code, tests, *words]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("words", "row", "name"),
    [
        (f"{TRAIN} --seed 1 --seed 2", "B97 option twice", "command_line"),
        (f"train {bad('F21 step raises')}", "F21 step raises", "environments"),
    ],
)
def test_a_process_says_the_same(words: str, row: str, name: str) -> None:
    before = everything()
    done = process(*words.split())
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr == f"klamp: {Messages(name).texts[row]}\n"
    assert everything() == before


def test_b98_variables_set_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none for settings, so that a run depends on its command alone."""
    from klamp.config.settings import Settings

    before = Settings()
    for name in ("SEED", "KLAMP_SEED", "KLAMP_STEPS"):
        monkeypatch.setitem(os.environ, name, "77")
    assert Settings() == before


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["--version"], ["version"]])
def test_b100_help_is_no_mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "klamp" in out
    assert not err


@pytest.mark.parametrize("command", COMMANDS)
def test_b100_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: Any = main([command, "--help"])
    except SystemExit as stop:
        code = stop.code
    assert not code
    assert f"klamp {command}" in capsys.readouterr().out
