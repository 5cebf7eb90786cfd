"""`klamp compare`: the table on standard output, the page where it is asked for."""

from pathlib import Path

import pytest

import klamp
from klamp.cli.main import main


def test_compare_prints_a_table_and_writes_a_page(
    trained: klamp.Result, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert main(["compare", str(trained.folder), "--out", str(page)]) == 0
    assert "CartPole-v1" in capsys.readouterr().out
    assert page.read_text().startswith("<!")
