"""The examples run and learn, and an algorithm of one's own needs no place in the package."""

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
from klamp.cli.main import main
from klamp.config.algorithms import ALGORITHMS

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "klamp"
SMALL: dict[str, Any] = {"num_envs": 2, "rollout_length": 32, "hidden_sizes": (4,), "quiet": True}


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """The folder of examples is where Python looks for modules; this user has a key of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield monkeypatch
    for name in ("own_algorithm", "trpo_by_hand"):
        sys.modules.pop(name, None)


def test_an_algorithm_of_ones_own_is_trained_recorded_and_gone_on_with(
    examples: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from own_algorithm import CISPO  # pyright: ignore

    chosen, whole = CISPO(epochs=2, minibatch_size=32), tmp_path / "whole"
    settings = SMALL | {"steps": 192, "checkpoint_interval": 64}
    klamp.train("CartPole-v1", chosen, out=whole, **settings)
    data = json.loads((whole / "config.json").read_text())
    assert data["algo"] == "own_algorithm:CISPO"
    assert data["epochs"] == 2
    part = shutil.copytree(whole, tmp_path / "part")
    shutil.rmtree(part / "checkpoints" / "step_000000000192")
    # As in another process, which has yet to import it.
    sys.modules.pop("own_algorithm")
    assert klamp.resume(part, quiet=True).summary["update"] == 3
    assert tensors(part) == tensors(whole)
    assert main(["eval", str(part), "--episodes", "1"]) == 0


def tensors(run: Path) -> bytes:
    return (run / "checkpoints" / "step_000000000192" / "tensors.safetensors").read_bytes()


def test_where_the_class_cannot_be_imported_it_is_given_again(
    examples: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from own_algorithm import CISPO  # pyright: ignore

    settings = SMALL | {"steps": 128, "checkpoint_interval": 64}
    run = klamp.train("CartPole-v1", CISPO(), out=tmp_path / "run", **settings).folder
    shutil.rmtree(run / "checkpoints" / "step_000000000128")
    data = json.loads((run / "config.json").read_text())
    data["algo"] = "__main__:CISPO"
    (run / "config.json").write_text(json.dumps(data))
    with pytest.raises(klamp.ConfigError, match=re.escape("klamp.load(folder, algorithm=…)")):
        klamp.load(run)
    assert klamp.load(run, algorithm=CISPO()).act(np.zeros(4, np.float32)) in (0, 1)
    with pytest.raises(klamp.ConfigError, match="was trained with"):
        klamp.load(run, algorithm=CISPO(clip=0.3))
    assert klamp.resume(run, algorithm=CISPO(), quiet=True).summary["step"] == 128


def test_what_another_wrote_is_not_imported(
    examples: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = klamp.train("CartPole-v1", steps=64, out=tmp_path / "run", **SMALL).folder
    data = json.loads((run / "config.json").read_text())
    data["algo"] = "own_algorithm:CISPO"
    (run / "config.json").write_text(json.dumps(data))
    for words in (["eval"], ["resume"]):
        assert main([*words, str(run)]) == 2
        assert "the module `own_algorithm`" in capsys.readouterr().err
    assert "own_algorithm" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_own_algorithm_learns(seed: int, examples: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from own_algorithm import CISPO  # pyright: ignore

    result = klamp.train(
        "CartPole-v1", CISPO(), steps=60_000, seed=seed, out=tmp_path / "run", quiet=True
    )
    assert result.summary["return_mean"] > 150


@pytest.mark.compiles
def test_trpo_by_hand_learns(
    examples: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trpo_by_hand import train  # pyright: ignore

    lengths = train(iterations=7)
    # A policy that acts at random keeps the pole up for 22 steps.
    assert np.mean(lengths[-2:]) > 50
    assert capsys.readouterr().out.count("ACCEPTED") == 7


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_trpo_by_hand_learns_more(seed: int, examples: pytest.MonkeyPatch) -> None:
    from trpo_by_hand import train  # pyright: ignore

    assert np.mean(train(iterations=20, seed=seed)[-5:]) > 120


@pytest.mark.parametrize("name", ["own_algorithm", "trpo_by_hand"])
def test_they_are_short(name: str) -> None:
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text())
    code = ast.unparse(tree.body[1:])
    assert len([line for line in code.splitlines() if line.strip()]) < 60


def names_in(path: Path) -> set[str]:
    """Every name in a file's code, its texts apart."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.alias | ast.ClassDef):
            found.add(node.name)
    return found


@pytest.mark.parametrize("kind", ALGORITHMS.values(), ids=list(ALGORITHMS))
def test_an_algorithm_has_two_files_and_two_places(kind: Any) -> None:
    """As CONTRIBUTING counts them: nothing else in the package knows it by name."""
    module = kind.__module__.rpartition(".")[2]
    own = {f"config/algorithms/{module}.py", f"algorithms/{module}.py"}
    places = {"config/algorithms/__init__.py", "__init__.py"}
    knowing = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if kind.__name__ in names_in(path)
    }
    assert knowing == own | places
