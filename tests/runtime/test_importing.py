"""Modules that a configuration names: found in the working folder, last; faults in one sentence."""

import os
import sys
from pathlib import Path

import pytest

from klamp.errors import ConfigError
from klamp.runtime.importing import import_named, search_last


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    return tmp_path


def test_a_module_of_the_working_folder_is_found_last(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "just_here.py").write_text("ANSWER = 42\n")
    import_named("just_here", "The thing")
    assert sys.modules.pop("just_here").ANSWER == 42
    assert sys.path[-1] == str(elsewhere)
    search_last(os.curdir)
    assert sys.path.count(str(elsewhere)) == 1


@pytest.mark.parametrize(
    "content", [None, "raise RuntimeError('a fault')", "import sys; sys.exit(3)"]
)
def test_what_cannot_be_imported_is_told(content: str | None, elsewhere: Path) -> None:
    if content is not None:
        (elsewhere / "faulty_one.py").write_text(content)
    with pytest.raises(ConfigError, match="The thing needs the module `faulty_one`"):
        import_named("faulty_one", "The thing")
