"""`klamp resume` in several processes; in one, tests/cli/test_training.py has it."""

import pytest

from klamp.cli.main import main


@pytest.mark.parametrize("words", [["--processes", "2"], ["--process", "1"]])
def test_half_of_the_options_of_several_processes_is_refused(trained, capsys, words):
    assert main(["resume", str(trained.folder), *words]) == 2
    assert "but there is no `--coordinator`" in capsys.readouterr().err
