"""Runs that begin with what another has learnt."""

import hashlib
import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import recorded
import runs
from case import Case, Promise, must
from policies import same_run

TAKEN = ("['state'].theta", "['state'].observation_moments")
SHARED = (
    "hidden_sizes",
    "activation",
    "shared_network",
    "normalize_observation",
    "action_scale",
    "action_bounds",
    "mean_activation",
)
"""What parameters and normaliser depend on."""


def judge(case: Case) -> str:
    """One run, another that begins with it, and the same that does not."""
    first = runs.draw(case, vector=False, few=True)
    second = like(case, first)
    with second.named():
        return judge_start(case, first, second)


def like(case: Case, first: runs.Plan) -> runs.Plan:
    """Another run of the same spaces and networks, with an algorithm of its own."""
    drawn = runs.draw(case, vector=False, few=True)
    batch = drawn.copies * drawn.options["rollout_length"]
    own = ("initial_log_std", "action_scale", "action_bounds", "mean_activation")
    options = {key: value for key, value in drawn.options.items() if key not in own}
    options |= {key: first.options[key] for key in (*SHARED, *own) if key in first.options}
    environment = drawn.environment | {"action": first.environment["action"]}
    options |= {"steps": 3 * batch}
    return replace(drawn, environment=environment, options=options, updates=3)


def judge_start(case: Case, first: runs.Plan, second: runs.Plan) -> str:
    """Two plans."""
    names = case.facade("train", "resume", "ConfigError")
    origin = runs.train_here(case, names, first, "origin")
    found = recorded.checkpoints(origin)
    at = case.choose(found[1:]) if case.chance(0.4) else found[-1]
    place = origin if at is found[-1] else origin / "checkpoints" / f"step_{at.step:012d}"
    run = runs.train_here(case, names, second, "run", start_from=place)
    alone = runs.train_here(case, names, second, "alone")
    what = f"started from step {at.step}"
    for name, array in recorded.checkpoints(run)[0].arrays.items():
        taken = name.startswith(TAKEN[0]) or (
            name.startswith(TAKEN[1]) and second.options["normalize_observation"]
        )
        true = at.arrays[name] if taken else recorded.checkpoints(alone)[0].arrays[name]
        same = array.shape == true.shape and array.tobytes() == true.tobytes()
        must(same, f"{what}: {name} is not that of {'the other run' if taken else 'a fresh run'}")
    config = json.loads((run / "config.json").read_text())
    told = Path(config["start_from"])
    must(told.name == f"step_{at.step:012d}", f"{what}: config.json names {told}")
    whole = hashlib.sha256((told / "tensors.safetensors").read_bytes()).hexdigest()
    must(config["start_from_sha256"] == whole, f"{what}: another sum than {whole}")
    if case.chance(0.5):
        goes_on_alone(case, names, origin, run)
    else:
        other_networks_are_refused(case, names, second, origin)
    return f"{what} of {first.algo}; {second.text()}"


def goes_on_alone(case: Case, names: Any, origin: Path, run: Path) -> None:
    """From its first checkpoint on the run is resumed without the other one."""
    copy = case.folder / "went on"
    shutil.copytree(run, copy)
    for folder in sorted((copy / "checkpoints").iterdir())[2:]:
        shutil.rmtree(folder)
    shutil.rmtree(origin)
    names.resume(copy, quiet=True)
    same_run(run, copy, "resumed without the run that it began with")


def other_networks_are_refused(case: Case, names: Any, plan: runs.Plan, origin: Path) -> None:
    """Parameters mean the same only in equal networks."""
    changed = {
        "hidden_sizes": (7,),
        "normalize_observation": not plan.options["normalize_observation"],
        "shared_network": not plan.options["shared_network"],
    }
    name = case.choose(changed)
    other = replace(plan, options=plan.options | {name: changed[name]})
    try:
        runs.train_here(case, names, other, "other", start_from=origin)
    except names.ConfigError as error:
        must(name in str(error), f"start_from with another {name}: {error}")
        must(not (case.folder / "other").exists(), "start_from was refused, the folder was made")
    else:
        must(False, f"start_from with another {name} is taken")


def _started(change: Any) -> Any:
    """A plant that changes the state before the first step."""

    def plant(names: Any) -> None:
        module = import_module("klamp.training.train")
        true = module.started

        def broken(run: Any, fresh: Any) -> Any:
            state = true(run, fresh)
            return state if run.config.start_from is None else change(state, fresh)

        module.started = broken

    return plant


def _without_normaliser(state: Any, fresh: Any) -> Any:
    return state._replace(observation_moments=fresh.observation_moments)


def _counting_on(state: Any, fresh: Any) -> Any:
    return state._replace(reward_moments=fresh.reward_moments._replace(samples=np.ones(())))


def _first_checkpoint(names: Any) -> None:
    """The first checkpoint is taken, not the last."""
    true = names.train

    def broken(*given: Any, start_from: Any = None, **options: Any) -> Any:
        if start_from is not None:
            root = Path(start_from)
            root = root if (root / "checkpoints").is_dir() else root.parents[1]
            start_from = min((root / "checkpoints").iterdir())
        return true(*given, start_from=start_from, **options)

    names.train = broken


PROMISE = Promise(
    name="start-from",
    says="a run that starts from another has its parameters and observation normaliser at first, "
    "all else as any run, and is resumed without it; other networks are refused",
    judge=judge,
    plants={
        "the normaliser is not taken": _started(_without_normaliser),
        "reward moments are not fresh": _started(_counting_on),
        "the first checkpoint is taken": _first_checkpoint,
    },
    limit_s=150,
    quick=True,
)
