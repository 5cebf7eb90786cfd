"""Hostile files: refused by a named error, nothing executed. The commands do it 100,000 times.

``benchmarks/reliability/fuzz.py`` and ``hostile.py`` are those commands.
"""

import ast
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

import klamp

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "reliability"))

import fuzz
from hostile_files import changed, dumps, foreign_files, hostile_tensors, joined, split

FOLDER = Path(fuzz.__file__).parent


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::klamp.KlampWarning")
def test_two_thousand_inputs_break_no_rule(tmp_path: Path) -> None:
    given = SimpleNamespace(inputs=2000, seed=7, only=None)
    found = fuzz.fuzz(given, tmp_path)
    assert found.broken == 0
    assert found.different > 1500
    outcomes = {(loader, outcome) for loader, _, outcome in found.counts}
    # Some must pass, or the inputs would not reach what is behind the first check.
    assert outcomes == {(a, b) for a in fuzz.LOADERS for b in ("taken", "refused")}


def test_a_number_is_the_same_input_ever_again(tmp_path: Path) -> None:
    whole = fuzz.whole_checkpoint(tmp_path)
    foreign = foreign_files(tmp_path / "canary")
    first = [fuzz.drawn(3, number, whole, foreign) for number in range(2000)]
    for number in (0, 7, 1999):
        assert first[number] == fuzz.drawn(3, number, whole, foreign)
    assert [case.files for case in first[:300]] == [
        fuzz.drawn(3, number, whole, foreign).files for number in range(300)
    ]


def test_what_escapes_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(folder: Path) -> Any:
        raise KeyError(folder.name)

    monkeypatch.setattr(fuzz, "read_config", careless)
    given = SimpleNamespace(inputs=20, seed=0, only=None)
    found = fuzz.fuzz(given, tmp_path)
    escaped = sum(n for (_, _, outcome), n in found.counts.items() if outcome == "escaped")
    assert found.broken == escaped > 5


@pytest.mark.slow
def test_under_the_audit_hook_nothing_happens_but_reading(tmp_path: Path) -> None:
    out = tmp_path / "hostile.md"
    command = [sys.executable, str(FOLDER / "hostile.py"), "--inputs", "200", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Events: 0. Rules broken: 0." in out.read_text()


def test_nothing_in_the_package_makes_code_of_data() -> None:
    """But for what a configuration names, which is signed or trusted (see `runs/trust.py`), and for
    environments that are handed to processes of our own."""
    forbidden = {"pickle", "dill", "joblib", "marshal", "shelve", "yaml", "torch", "cloudpickle"}
    calls = {"eval", "exec", "compile", "__import__", "import_module"}
    source = Path(klamp.__file__).parent
    found: set[tuple[str, str]] = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names} & forbidden
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]} & forbidden
            elif isinstance(node, ast.Call):
                named = node.func.id if isinstance(node.func, ast.Name) else ""
                if named == "import_module" and isinstance(node.args[0], ast.Constant):
                    continue
                off = ast.dump(ast.Constant(False))
                options = {option.arg for option in node.keywords if ast.dump(option.value) != off}
                names = ({named} & calls) | (options & {"allow_pickle", "trust_remote_code"})
            else:
                continue
            found |= {(str(path.relative_to(source)), str(name)) for name in names}
    assert found == {
        ("runtime/importing.py", "import_module"),
        # Of klamp's own modules, by the names in its own tables.
        ("__init__.py", "import_module"),
        ("algorithms/__init__.py", "import_module"),
        ("envs/host/worker.py", "cloudpickle"),
        ("envs/host/subprocesses.py", "cloudpickle"),
        ("training/seeds_processes.py", "cloudpickle"),
        ("training/sweep/workers.py", "cloudpickle"),
        ("lm/__init__.py", "import_module"),
    }


def test_changes_change_and_headers_are_split_where_they_end() -> None:
    draw = Random(0)
    tree = {"a": [1, {"b": None}], "c": 1.5}
    texts = [dumps(changed(draw, tree)) for _ in range(100)]
    assert sum(text != dumps(tree) for text in texts) > 80
    file = joined(b'{"x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}', b"ab")
    assert split(file)[1] == b"ab"
    assert sum(hostile_tensors(draw, file) != file for _ in range(100)) > 80
