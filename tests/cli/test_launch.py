"""`klamp launch` starts processes, passes their lines and signals on, and ends as they do."""

import os
import signal
import threading

import pytest
from joined_threads import until

from klamp.cli.launch import launch
from klamp.errors import ConfigError


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["train", "CartPole-v1"],
        ["--processes", "2"],
        ["--processes", "0", "--", "train", "CartPole-v1"],
        ["--processes", "two", "--", "train", "CartPole-v1"],
        ["--processes", "2", "--", "eval", "runs/x"],
        ["--processes", "2", "--", "lm", "generate", "runs/x"],
        ["--processes", "2", "--"],
    ],
)
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="klamp launch"):
        launch(words)


def stand_in(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Another program in the place of klamp; its arguments are those of a process."""
    (tmp_path / "klamp").mkdir()
    (tmp_path / "klamp" / "__init__.py").touch()
    (tmp_path / "klamp" / "__main__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_each_process_knows_its_number_and_its_lines_are_told_apart(monkeypatch, tmp_path, capfd):
    text = "import sys; print(*sys.argv[1:]); print('oh', file=sys.stderr)"
    stand_in(text, monkeypatch, tmp_path)
    assert launch(["--processes", "2", "--", "train", "X-v0"]) == 0
    out, err = capfd.readouterr()
    lines = sorted(out.splitlines())
    assert [line.split(" --coordinator 127.0.0.1:")[0] for line in lines] == [
        "[0] train X-v0",
        "[1] train X-v0",
    ]
    assert lines[1].endswith("--processes 2 --process 1")
    assert lines[0].split()[4] == lines[1].split()[4]
    assert sorted(err.splitlines()) == ["[0] oh", "[1] oh"]
    assert launch(["--processes", "1", "--", "lm", "train", "sort"]) == 0
    assert capfd.readouterr().out.startswith("[0] lm train sort --coordinator 127.0.0.1:")


def test_the_code_is_of_the_first_that_failed(monkeypatch, tmp_path):
    text = "import sys, time; n = int(sys.argv[-1]); time.sleep(1 - n); sys.exit(75 + n)"
    stand_in(text, monkeypatch, tmp_path)
    assert launch(["--processes", "2", "--", "train", "X-v0"]) == 76


def test_signals_reach_all_of_them(monkeypatch, tmp_path, capfd):
    text = (
        "import pathlib, signal, sys, time\n"
        f"there = pathlib.Path({str(tmp_path)!r}, 'there' + sys.argv[-1])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "there.touch(); time.sleep(60)"
    )
    stand_in(text, monkeypatch, tmp_path)

    def ask():
        until(lambda: len(list(tmp_path.glob("there*"))) == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert launch(["--processes", "2", "--", "train", "X-v0"]) == 143
    asking.join()
