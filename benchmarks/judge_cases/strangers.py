"""Whose code is run: environments in modules that a run's ``config.json`` names."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from case import (
    Case,
    Ended,
    Promise,
    finished,
    klamp_process,
    must,
    must_be_plain,
    must_be_refused,
    must_succeed,
    process,
    surroundings,
    tail,
)
from resumption import contents

MODULE = """
import judge_envs, gymnasium, os, pathlib

with pathlib.Path(os.environ["JUDGE_CANARY"]).open("a") as file:
    file.write("imported ")
gymnasium.register(id="judge/Strange-v0", entry_point="judge_envs:Drift")
"""
LOAD = "import klamp, sys; klamp.load('run', trust=bool(sys.argv[1:])).act([0.0, 0.0, 0.0])"
OWN = ("untouched", "copied to another place", "another working folder")
CHANGES = (
    "another user's run",
    "a setting changed",
    "the signature taken away",
    "another run's signature",
    "the module lies elsewhere",
    "a module of that name in the working folder",
)


def judge(case: Case) -> str:
    """One run, gone on with by its user, and by others or after changes."""
    place = case.folder / "modules"
    place.mkdir()
    (place / "strange.py").write_text(MODULE)
    words = ("train", "strange:judge/Strange-v0", "--algo", case.choose(("a2c", "ppo")))
    size = ("--steps", 60, "--num-envs", 2, "--rollout-length", 30, "--hidden-sizes", 4)
    for name in ("base", "other"):
        seed = int(case.rng.integers(2**40))
        ended = command(case, (*words, *size, "--out", name, "--seed", seed), place)
        must_succeed(ended, "train")
        must(imported(case), "train does not import the module")
    said = []
    for change in (case.choose(OWN), *case.rng.permutation(CHANGES)[:3]):
        way = case.choose(("eval", "resume", "load"))
        said.append(f"{change}: {way}")
        judge_change(case, place, str(change), way)
    return "; ".join(said)


def judge_change(case: Case, place: Path, change: str, way: str) -> None:
    """What one user may do at once, and what is refused unless it is trusted."""
    shutil.rmtree(case.folder / "run", ignore_errors=True)
    shutil.copytree(case.folder / "base", case.folder / "run")
    here, place, state = changed(case, place, change)
    what = f"{way}, {change}"
    before = contents(case.folder / "run")
    ended = by(case, way, place, here, state, trust=False)
    if change in OWN:
        must_succeed(ended, what)
        return
    if way == "load":
        must(ended.code == 1 and "ConfigError" in ended.err, f"{what}: {tail(ended.err)}")
    else:
        must_be_refused(ended, what)
    must("strange" in ended.err, f"{what}: the module is not named: {tail(ended.err)}")
    must(not imported(case), f"{what}: the module was imported")
    must(contents(case.folder / "run") == before, f"{what}: refused, but something was written")
    ended = by(case, way, place, here, state, trust=True)
    must_be_plain(ended, f"{what}, trusted")
    must(ended.code == 0, f"{what}, trusted: ended with {ended.code}: {tail(ended.err)}")
    must(imported(case), f"{what}, trusted: the module was not imported")


def changed(case: Case, place: Path, change: str) -> tuple[Path, Path, str]:
    """Make a change: the working folder, where modules are found, whose state it is."""
    here, state, path = case.folder, "state", case.folder / "run" / "config.json"
    config = json.loads(path.read_text())
    match change:
        case "copied to another place" | "another working folder":
            here = case.folder / change
            here.mkdir(exist_ok=True)
        case "another user's run":
            state = "state of another"
        case "a setting changed":
            path.write_text(json.dumps(config | {"discount": 0.5}))
        case "the signature taken away":
            del config["signature"]
            path.write_text(json.dumps(config))
        case "another run's signature":
            other = json.loads((case.folder / "other" / "config.json").read_text())
            path.write_text(json.dumps(config | {"signature": other["signature"]}))
        case "the module lies elsewhere":
            place = case.folder / "elsewhere"
            place.mkdir(exist_ok=True)
            (place / "strange.py").write_text(MODULE)
        case "a module of that name in the working folder":
            place = here = case.folder / "downloads"
            here.mkdir(exist_ok=True)
            (here / "strange.py").write_text(MODULE)
    if here != case.folder:
        shutil.rmtree(here / "run", ignore_errors=True)
        (here / "run").symlink_to("../run")
        if change == "copied to another place":
            (here / "run").unlink()
            shutil.copytree(case.folder / "run", here / "run")
    return here, place, state


def by(case: Case, way: str, place: Path, here: Path, state: str, *, trust: bool) -> Ended:
    """Use the run in one of three ways."""
    trusted = ("--trust",) if trust else ()
    if way == "load":
        return command(case, None, place, here, state, load=trusted)
    more = ("--episodes", 1) if way == "eval" else ("--steps", 120)
    return command(case, (way, "run", *more, *trusted), place, here, state)


def command(
    case: Case,
    words: Any,
    place: Path,
    here: Path | None = None,
    state: str = "state",
    load: tuple[str, ...] = (),
) -> Ended:
    """A command in surroundings of its own; a planted fault changes them."""
    (case.folder / "canary").unlink(missing_ok=True)
    env = surroundings(case, JUDGE_CANARY=str(case.folder / "canary"), JUDGE_ENV="{}")
    if case.plant is not None and here is not None:
        state, words, load = case.plant(state, words, load)
    env["PYTHONPATH"] = os.pathsep.join((env["PYTHONPATH"], str(place)))
    env["XDG_STATE_HOME"] = str(case.folder / state)
    if words is None:
        return finished(process([sys.executable, "-c", LOAD, *load], env, here or case.folder), 60)
    return finished(klamp_process(case, words, env, cwd=here or case.folder), 100)


def imported(case: Case) -> bool:
    """Whether the module ran in the last command."""
    return (case.folder / "canary").exists()


def _credulous(state: str, words: Any, load: tuple[str, ...]) -> Any:
    """Whatever a file names is imported."""
    return state, words if words is None else (*words, "--trust"), ("--trust",)


def _forgetful(state: str, words: Any, load: tuple[str, ...]) -> Any:
    """One's own runs are taken for a stranger's."""
    return f"no {state}", words, load


PROMISE = Promise(
    name="strangers",
    says="code that a file names is run where its user's own klamp wrote that file, or where it is "
    "trusted; else it is named, nothing is imported or written, and the exit code is 2",
    judge=judge,
    plants={"any module is imported": _credulous, "one's own module is refused": _forgetful},
    quick=True,
)
