"""The command line: help without JAX, exit codes, one paragraph for each mistake."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from klamp.cli.main import COMMANDS, main
from klamp.runs.checkpoint import latest_checkpoint

SIZES = "--num-envs 2 --rollout-length 16 --hidden-sizes 4 --epochs 1 --minibatch-size 32"
SMALL = [*SIZES.split(), "--steps", "32"]


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command that must exit with 2, without a traceback and in one paragraph."""
    assert main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("klamp: ")
    assert "Traceback" not in text
    assert text.count("\n") == 1
    return text


HELP = """
import contextlib, sys
from klamp.cli.main import COMMANDS, main
for words in [["--help"], *([command, "--help"] for command in COMMANDS)]:
    print("asked:", *words)
    with contextlib.suppress(SystemExit):
        main(words)
    wanted = {"jax", "numpy"} & set(sys.modules)
    assert not wanted, (words, wanted)
"""


def test_help_needs_no_jax() -> None:
    """One process for all: what a command imports is still there when the next one is asked."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("asked: ")[1:]
    assert len(answers) == 1 + len(COMMANDS)
    assert all("usage: klamp" in answer for answer in answers)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["presets", "Hopper-v5"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_whoever_reads_standard_output_may_have_seen_enough(
    words: list[str], unbuffered: str
) -> None:
    """`klamp --help | head -1`, with the reader gone before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "klamp", *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_that_broke_elsewhere_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(words: list[str]) -> int:
        raise BrokenPipeError

    monkeypatch.setitem(COMMANDS, "resume", COMMANDS["resume"]._replace(run=broken))
    with pytest.raises(BrokenPipeError):
        main(["resume"])


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "CartPole-v1", "--algo", "trpo", "--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    for option in ("--steps", "--max-kl", "--critic-epochs", "--out", "--normalize-reward"):
        assert option in text


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["tran"], "Did you mean `train`?"),
        (["train", "CartPol-v1"], "Did you mean `CartPole-v1`"),
        (["train", "CartPole-v1", "--lerning-rate", "1"], "Did you mean `--learning-rate`?"),
        (["train", "CartPole-v1", "--steps", "-5"], "`steps` of Settings is -5"),
        (["train", "CartPole-v1", "--steps", "many"], "must be an integer"),
        (["train", "CartPole-v1", "--algo", "pppo"], "Did you mean `ppo"),
        (["train", "CartPole-v1", "--clip", "0"], "finite number > 0"),
        (["train", "CartPole-v1", "--discount", "1.5"], "between 0 and 1"),
        (["train", "no_such_module:Thing-v0"], "cannot be imported"),
        (["train", "FrozenLake-v9"], "There is no environment"),
        (["train"], "was given no ENV"),
        (["resume", "nowhere"], "no config.json"),
        (["eval", "nowhere"], "no config.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_named(
    words: list[str], wanted: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wanted in complaint(capsys, *words)
    assert not list(tmp_path.iterdir()), "a refused command must leave nothing behind"


def test_train_eval_resume(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--num-envs", "2", "--rollout-length", "64", "--steps", "2e2"]
    evaluated = ["--eval-interval", "1e2", "--eval-episodes=2", "--log", "csv"]
    trpo = ["--algo", "trpo", "--max-kl", "0.02"]
    assert main(["train", *small, *trpo, "CartPole-v1", *evaluated]) == 0
    folder = tmp_path / "runs" / "CartPole-v1-trpo-0"
    config = json.loads((folder / "config.json").read_text())
    assert config["max_kl"] == 0.02
    assert config["steps"] == 200
    summary = (folder / "summary.json").read_text()

    capsys.readouterr()
    message = complaint(capsys, "train", "CartPole-v1", *small, "--algo", "trpo")
    assert "exists already" in message
    assert (folder / "summary.json").read_text() == summary

    assert main(["eval", str(folder), "--episodes", "3"]) == 0
    assert "over 3 episodes" in capsys.readouterr().out
    assert main(["eval", str(folder), "--episodes", "3", "--checkpoint", "best"]) == 0
    assert main(["eval", str(folder), "--episodes", "3", "--checkpoint", "0"]) == 0
    capsys.readouterr()
    assert "must be 'best', 'last'" in complaint(capsys, "eval", str(folder), "--checkpoint", "bst")
    assert main(["resume", str(folder), "--steps", "300", "--quiet", "--log", "csv"]) == 0
    resumed = json.loads((folder / "summary.json").read_text())
    assert resumed["step"] >= 300
    assert {"eval_return_mean", "eval_s"} <= {*resumed}
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + resumed["update"]

    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    capsys.readouterr()
    message = complaint(capsys, "resume", str(folder), "--steps", "200", "--quiet")
    assert "384 steps are made already" in message
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


@pytest.mark.slow
def test_no_state_of_standard_error_changes_a_run(tmp_path: Path) -> None:
    """Read; on a full disk; a pipe that nobody reads any more; closed from the start."""
    words = ["train", "CartPole-v1", *SMALL, "--out"]
    assert main([*words, str(tmp_path / "read")]) == 0
    # One process in two states: whoever reads goes away between two runs, and at its end is gone.
    reading, gone = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    code = (
        "import os; from klamp.cli.main import main; "
        f"assert main({[*words, str(tmp_path / 'full')]!r}) == 0; os.dup2({gone}, 2); "
        f"assert main({[*words, str(tmp_path / 'gone')]!r}) == 0"
    )
    broken = [sys.executable, "-c", code]
    assert subprocess.run(broken, stderr=full, pass_fds=[gone], check=False).returncode == 0
    closed = [sys.executable, "-m", "klamp", *words, str(tmp_path / "closed")]
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *closed]
    assert subprocess.run(closed, check=False).returncode == 0
    states = [latest_checkpoint(tmp_path / name) for name in ("read", "full", "gone", "closed")]
    assert len({(path / "tensors.safetensors").read_bytes() for path in states}) == 1
    os.close(gone)
    os.close(full)


def test_a_run_that_ends_on_a_full_disk_says_so_in_one_paragraph(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = os.fsync, tmp_path / "run"

    def fsync(handle: int) -> None:
        if (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert main(["train", "CartPole-v1", *SMALL, "--quiet", "--out", str(folder)]) == 74
    text = capsys.readouterr().err
    assert text.startswith("klamp: The run has come to its end at step 32")
    assert "(No space left on device)" in text
    assert text.count("\n") == 1
    assert latest_checkpoint(folder).name == f"step_{0:012d}"
    assert not (folder / "summary.json").exists()
    monkeypatch.undo()
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert (folder / "summary.json").exists()
