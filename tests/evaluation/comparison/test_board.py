"""The board: what it shows is new, and nothing but it is to be had."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_folders import learning, run, seeds

from klamp.evaluation.comparison.board import Board, Follower
from klamp.evaluation.comparison.page import About

ABOUT = About("klamp board", "klamp board", "following runs", "0.1.0", live=True)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    seeds(tmp_path / "runs" / "two", [1.0, 2.0])
    (tmp_path / "secret").write_text("mine")
    with Board(tmp_path / "runs", 0, ABOUT) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(board: Board, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, str]:
    """Status, headers and text of an answer."""
    to = http.client.HTTPConnection("127.0.0.1", board.server_port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    to.request(method, path, headers=named)
    answer = to.getresponse()
    found = answer.status, answer.headers, answer.read().decode()
    to.close()
    return found


def test_it_is_bound_to_this_machine_alone(board: Board) -> None:
    assert board.server_address[0] == "127.0.0.1"
    assert board.address == f"http://127.0.0.1:{board.server_port}/"


def test_the_page_and_what_is_new(board: Board, tmp_path: Path) -> None:
    status, headers, text = ask(board, "/")
    assert status == 200
    assert 'data-live="yes"' in text
    assert "E-v1" in text
    assert "script-src 'sha256-" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, first = ask(board, "/main")
    assert (status, "ppo" in first) == (200, True)
    assert ask(board, "/main", If_None_Match=headers["ETag"])[0] == 304
    with (tmp_path / "runs" / "two" / "seed-0" / "metrics.jsonl").open("a") as file:
        file.write(learning([0.0] * 8 + [777.0])[-1])
    status, _, second = ask(board, "/main", If_None_Match=headers["ETag"])
    assert status == 200
    assert "777.0" in second


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("evil.example", 403),
        ("evil.example:8765", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:1:evil.example", 403),
        ("127.0.0.1:80@evil.example", 403),
        ("", 403),
    ],
)
def test_another_name_is_refused(board: Board, host: str, status: int) -> None:
    """A stranger's page, whose name was made to point here, sends its own name as the host."""
    assert ask(board, "/main", Host=host)[0] == status


@pytest.mark.parametrize(
    "path",
    ["/../secret", "/main/..", "/runs", "/two/seed-0/metrics.jsonl", "/%2e%2e/secret", "/?a"],
)
def test_no_address_names_a_file(board: Board, path: str) -> None:
    status, _, text = ask(board, path)
    assert status == 404
    assert text == "There is nothing here."


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "ODD"])
def test_it_is_read_only(board: Board, method: str) -> None:
    status, _, text = ask(board, "/", method)
    assert status == (501 if method == "ODD" else 405)
    assert "E-v1" not in text


def test_links_out_of_the_folder_are_passed_over(tmp_path: Path) -> None:
    outside = run(tmp_path / "outside", learning([1.0]), env="Outside-v1")
    others = seeds(tmp_path / "others", [1.0], env="Others-v1")
    inside = run(tmp_path / "runs" / "inside", learning([1.0]), env="Inside-v1")
    (tmp_path / "runs" / "link").symlink_to(outside)
    (tmp_path / "runs" / "seeds").symlink_to(others)
    (tmp_path / "runs" / "ten").mkdir()
    (tmp_path / "runs" / "ten" / "seed-0").symlink_to(outside)
    half = run(tmp_path / "runs" / "half", learning([1.0]), env="Half-v1")
    (half / "metrics.jsonl").unlink()
    (half / "metrics.jsonl").symlink_to(outside / "metrics.jsonl")
    text = Follower(tmp_path / "runs").main().decode()
    assert "Inside-v1" in text
    assert str(inside) in text
    for name in ("Outside-v1", "Others-v1", "Half-v1"):
        assert name not in text
    assert "no plain file" in text


def test_runs_come_go_and_break_while_it_looks(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    follower = Follower(runs)
    assert b"There is no update of a run" in follower.main()
    early = run(runs / "early", [], ended=False)
    assert b"Without an update yet" in follower.main()
    (early / "metrics.jsonl").write_text("".join(learning([42.0])))
    assert b"42.0" in follower.main()
    assert follower.main() is follower.main()
    (early / "metrics.jsonl").write_text("{\n")
    assert b"damaged in line 1" in follower.main()
    early.rename(tmp_path / "away")
    assert b"There is no update of a run" in follower.main()
