"""`klamp board`: it says where it is, ends with one line, and refuses what it cannot do."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from run_folders import learning, run

from klamp.cli.main import main

BOARD = """
import signal, sys
# Whoever runs the tests in the background has its children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from klamp.cli.main import main
sys.exit(main(["board", "--port", "0"]))
"""


def test_it_serves_until_ctrl_c_and_says_one_line(tmp_path: Path) -> None:
    run(tmp_path / "runs" / "one", learning([1.0]))
    board = subprocess.Popen(
        [sys.executable, "-c", BOARD],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert board.stdout is not None
    said = re.search(r"http://127\.0\.0\.1:\d+/", board.stdout.readline())
    assert said is not None
    with urllib.request.urlopen(said[0]) as answer:
        assert b"E-v1" in answer.read()
    board.send_signal(signal.SIGINT)
    out, error = board.communicate()
    assert (board.returncode, out) == (130, "")
    assert error == "klamp: the board has ended; nothing of the runs was touched\n"
    assert sorted(path.name for path in (tmp_path / "runs" / "one").iterdir()) == [
        "config.json", "metrics.jsonl", "summary.json",
    ]  # fmt: skip


def test_a_folder_that_is_not_there_and_a_port_that_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["board", str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (str(taken.getsockname()[1]), "70000"):
            assert main(["board", str(tmp_path), "--port", port]) == 2
            assert f"The port {port} of 127.0.0.1 cannot be had" in capsys.readouterr().err
