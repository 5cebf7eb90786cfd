"""Code that a file names is imported where this user wrote it there, or says so; else never."""

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import klamp
from klamp.cli.main import main
from klamp.runs.trust import code_of

MODULE = """
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

Path({canary!r}).touch()
if "Mine-v0" not in gymnasium.registry:
    gymnasium.register("Mine-v0", CartPoleEnv, max_episode_steps=20)
"""
SMALL: dict[str, Any] = {
    "num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,), "steps": 32, "quiet": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this user's key lies; what the tests' own module registers is taken back."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield tmp_path / "state" / "klamp"
    gymnasium.registry.pop("Mine-v0", None)


class Project:
    """A folder with a module of the user's own, and a run that was trained in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.canary, self.patch = folder, folder / "canary", monkeypatch
        self.others = [*sys.path]
        folder.mkdir()
        (folder / "mine.py").write_text(MODULE.format(canary=str(self.canary)))
        self.new_process(folder)
        self.run = klamp.train("mine:Mine-v0", **SMALL).folder.resolve()
        self.new_process(folder)

    def new_process(self, folder: Path) -> None:
        """As if `python -m klamp` began there: nothing is imported, what lies there is found."""
        sys.modules.pop("mine", None)
        self.patch.chdir(folder)
        self.patch.setattr(sys, "path", [str(folder), *self.others])
        self.canary.unlink(missing_ok=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path / "project", monkeypatch)


def refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """By every command that makes the environment, before anything is imported."""
    for words in (["eval"], ["resume"], ["resume", "--steps", "64"]):
        capsys.readouterr()
        assert main([words[0], str(project.run), *words[1:]]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "the module `mine`" in said
        assert "`--trust`" in said
    for call in (klamp.load, klamp.resume):
        with pytest.raises(klamp.ConfigError, match="No klamp of yours signed that"):
            call(project.run)
    assert not project.canary.exists()


def test_what_this_user_trained_is_gone_on_with(project: Project) -> None:
    assert main(["eval", str(project.run), "--episodes", "1"]) == 0
    assert project.canary.exists()
    project.new_process(project.folder)
    assert main(["resume", str(project.run), "--steps", "64", "--quiet"]) == 0
    # The new number of steps is signed, too.
    project.new_process(project.folder)
    klamp.load(project.run)


@pytest.mark.parametrize("change", ["unsigned", "another key", "steps", "forged", "no text"])
def test_what_another_wrote_imports_nothing(
    change: str, project: Project, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project.run / "config.json"
    data = json.loads(path.read_text())
    match change:
        case "unsigned":
            del data["signature"]
        case "another key":
            (state / "key").write_bytes(bytes(32))
        case "steps":
            data["steps"] = 48
        case "forged":
            data["signature"] = "0" * 64
        case _:
            data["signature"] = ["é"]
    path.write_text(json.dumps(data))
    refused(project, capsys)


def test_a_signed_run_beside_another_module_imports_nothing(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Somebody publishes a run, and gets it back with code."""
    shutil.copytree(project.folder, tmp_path / "elsewhere")
    project.new_process(tmp_path / "elsewhere")
    project.run = tmp_path / "elsewhere" / "runs" / project.run.name
    refused(project, capsys)


def test_who_says_so_is_trusted(project: Project, state: Path) -> None:
    (state / "key").unlink()
    assert main(["eval", str(project.run), "--trust", "--episodes", "1"]) == 0
    project.new_process(project.folder)
    assert main(["resume", str(project.run), "--trust", "--steps", "64", "--quiet"]) == 0
    project.new_process(project.folder)
    # Trained on by this user, it is this user's.
    klamp.load(project.run)
    project.new_process(project.folder)
    (state / "key").unlink()
    klamp.load(project.run, trust=True)
    # What the user's own code has imported needs no more trust.
    klamp.resume(project.run, quiet=True)


def test_without_a_place_for_the_key_training_works_and_loading_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    project = Project(tmp_path / "project", monkeypatch)
    assert "signature" not in json.loads((project.run / "config.json").read_text())
    refused(project, capsys)


def test_a_plain_name_needs_no_key(state: Path, tmp_path: Path) -> None:
    folder = klamp.train("CartPole-v1", out=tmp_path / "run", **SMALL).folder
    assert "signature" not in json.loads((folder / "config.json").read_text())
    klamp.load(folder)
    assert not state.exists()


def test_the_key_is_made_once_and_for_nobody_else(state: Path) -> None:
    from klamp.runs.trust import is_signed, signed

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: signed({"env": "a:b"}), range(64)))
    assert all(each == made[0] for each in made)
    assert is_signed(made[0])
    (key,) = state.iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) & 0o077 == 0
    assert key.read_bytes().hex() not in json.dumps(made[0])
    # A key that was damaged signs nothing, and nothing is signed by it.
    key.write_bytes(b"")
    assert signed({"env": "a:b"}) == {"env": "a:b"}
    assert not is_signed(made[0])


def test_the_command_finds_modules_in_the_working_folder_after_all_others(
    project: Project, tmp_path: Path
) -> None:
    """As `python -m klamp` does, but that a `colorsys.py` there takes no library's place."""
    (project.folder / "colorsys.py").write_text("raise SystemExit('in the place of a library')")
    with (project.folder / "mine.py").open("a") as file:
        file.write("import colorsys\ncolorsys.rgb_to_hsv(1, 1, 1)\n")
    script = tmp_path / "bin" / "klamp"
    script.parent.mkdir()
    script.write_text("import sys\nfrom klamp.cli.main import main\nsys.exit(main())\n")
    command = [sys.executable, str(script), "eval", str(project.run), "--episodes", "1"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mine:Mine-v0: mean return" in done.stdout


@pytest.mark.parametrize(
    "named",
    [
        {"env": "factory:os:system", "env_kwargs": {"command": "touch canary"}},
        {"env": "factory:mine:Own"},
        {"wrappers": ["os:system"]},
        {"wrappers": ["mine:Own"]},
        {"algo": "mine:Own"},
        {"env_kwargs": {"xml_file": "/etc/passwd"}},
    ],
)
def test_code_and_text_that_a_file_names_is_left_alone(
    named: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though `os` is imported already: what lies in it would be called, not only imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODULE.format(canary=str(tmp_path / "canary")))
    folder = klamp.train("CartPole-v1", out=tmp_path / "run", **SMALL).folder
    data = json.loads((folder / "config.json").read_text()) | named
    (folder / "config.json").write_text(json.dumps(data))
    for call in (klamp.load, klamp.resume):
        with pytest.raises(klamp.ConfigError, match="No klamp of yours signed that"):
            call(folder)
    assert not (tmp_path / "canary").exists()


def test_arguments_that_are_numbers_need_no_signature() -> None:
    config = klamp.RunConfig("CartPole-v1", klamp.PPO(), env_kwargs={"gravity": -5.0})
    assert code_of(config.to_dict()) == []
    own = replace(config, env="factory:a:B", wrappers=("flatten", "b:c")).to_dict()
    own |= {"algo": "d:E", "network": "n:build"}
    named = code_of(own)
    assert [text.split("`")[1] for text in named] == ["factory:a:B", "d:E", "n:build", "b:c"]
    assert all("would run the code of the module" in text for text in named)
    assert len(code_of(own, ["environment"])) == 3
    assert code_of(own, ["environment", "algorithm", "network", "wrappers"]) == []
    # What is imported is run no further by an id or a class, but what a factory's name calls is.
    assert len(code_of(own, imported={"a", "b", "d", "n"})) == 3


@pytest.mark.parametrize(
    "data", [{}, {"env": 3, "algo": None, "wrappers": 5}, {"wrappers": [None, 3, {}]}]
)
def test_what_names_nothing_in_any_form_is_no_code(data: dict[str, Any]) -> None:
    assert code_of(data) == []
