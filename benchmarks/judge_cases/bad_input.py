"""Settings that cannot be, environments that break their contract, settings that do nothing."""

import dataclasses
import json
import shutil
from dataclasses import replace
from typing import Any

import runs
from case import (
    Case,
    Difference,
    Promise,
    klamp,
    must,
    must_be_plain,
    must_be_refused,
    must_succeed,
    tail,
)
from policies import same_run

CONFIGS = ("Settings", "REINFORCE", "A2C", "NPG", "TRPO", "PPO", "PPOPenalty")
NO_NUMBERS = (float("nan"), float("inf"), -float("inf"), "much", b"1", [], {}, 1j, object())
WORDS = (
    "nan",
    "inf",
    "-inf",
    "much",
    "1e",
    "0x10",
    "--",
    "1,5",
    "½",
    "\x1b[31m",
    "[bold]",
    "10**3",
)
SWITCHES = ("normalize_observation", "normalize_reward", "shared_network")
FAULTS = (
    "raises in the constructor",
    "raises in reset",
    "raises in step",
    "NaN observation",
    "NaN reward",
    "wrong shape",
    "text",
    "None",
    "reward of None",
    "ends of text",
    "info of a list",
)
TOLD_LATER = ("raises in step", "raises in reset", "NaN observation", "NaN reward")


def judge(case: Case) -> str:
    """Settings in Python, words on the command line."""
    names = case.facade(*CONFIGS, "ConfigError")
    for _ in range(60):
        kind = case.choose(CONFIGS)
        field = case.choose(dataclasses.fields(getattr(names, kind)))
        if field.name in SWITCHES:
            continue
        bad = case.choose(NO_NUMBERS)
        if field.name == "hidden_sizes" and bad == []:
            continue
        try:
            getattr(names, kind)(**{field.name: bad})
        except names.ConfigError as error:
            text = str(error)
            must(field.name in text, f"{kind}({field.name}={bad!r}): {text!r} does not name it")
            must("\n" not in text and text.isprintable(), f"{kind}({field.name}={bad!r}): {text!r}")
            continue
        except Exception as error:
            must(False, f"{kind}({field.name}={bad!r}) raises {type(error).__name__}: {error}")
        must(False, f"{kind}({field.name}={bad!r}) is taken")
    on_the_command_line(case, names)
    return "60 settings, one command"


def on_the_command_line(case: Case, names: Any) -> None:
    """A word that is no number, or an option or name that is unknown."""
    fields = [f for f in dataclasses.fields(names.Settings) if f.name not in SWITCHES]
    option = "--" + case.choose(fields).name.replace("_", "-")
    word = case.choose(WORDS)
    commands = [
        ["train", "CartPole-v1", option, word],
        ["train", "CartPole-v1", "--algo", word],
        ["train", f"Pole{word}-v1"],
        ["train", "CartPole-v1", f"--{word.strip('-')}-rate", "3"],
        ["eval", f"nowhere{word}"],
        ["resume", f"nowhere{word}"],
        ["compare", f"nowhere{word}"],
        [f"tra{word}"],
    ]
    words = case.choose(commands)
    ended = klamp(case, *words, *(("--out", "new") if words[0] == "train" else ()))
    must_be_refused(ended, f"klamp {words}")
    must(not (case.folder / "new").exists(), f"klamp {words}: refused, but the folder was made")


def judge_environments(case: Case) -> str:
    """An environment with a fault, at once or later on."""
    plan = runs.draw(case, vector=False)
    fault, later = case.choose(FAULTS), case.chance(0.5)
    at = int(case.rng.integers(150, 300)) if later else 0
    options = plan.options | {
        # Ten refused updates in a row end a run; what raises ends it at once.
        "steps": 2_000 if later and fault.startswith("NaN") else 900,
        "num_envs": 2,
        "rollout_length": 50,
        "checkpoint_interval": 1,
        "keep_checkpoint_every": 1,
        "vectorization": case.choose(("sync", "sync", "async")),
        "normalize_reward": False,
    }
    for name in ("minibatch_size", "critic_minibatch_size"):
        options.pop(name, None)
    environment = plan.environment | {"fault": fault, "fault_at": at}
    plan = replace(plan, options=options, environment=environment)
    ended = klamp(case, *plan.words("run"), limit_s=120, **plan.surroundings())
    what = f"{fault} from step {at}, {plan.algo}, {options['vectorization']}"
    if case.plant is not None:
        ended = case.plant(ended)
    if not later:
        must_be_refused(ended, what)
        must(not (case.folder / "run").exists(), f"{what}: refused, but the folder was made")
        return what
    must_be_plain(ended, what)
    must(ended.code == 2, f"{what}: ended with {ended.code}: {tail(ended.err)}")
    if fault.startswith("raises"):
        must(
            "the judge's own fault" in ended.err, f"{what}: not in its own words: {tail(ended.err)}"
        )
    nothing_spoilt(case, what)
    return what


def nothing_spoilt(case: Case, what: str) -> None:
    """Whatever was saved is finite."""
    import numpy as np
    import recorded

    if not (case.folder / "run" / "checkpoints").is_dir():
        return
    for checkpoint in recorded.checkpoints(case.folder / "run"):
        for name, array in checkpoint.arrays.items():
            if array.dtype.kind == "f" and "environments" not in name:
                must(np.all(np.isfinite(array)), f"{what}: {name} is not finite")


OTHER_VALUES: dict[str, Any] = {
    "discount": 0.31,
    "trace_decay": 0.27,
    "normalize_observation": True,
    "normalize_reward": True,
    "advantage_estimator": "monte-carlo",
    "value_target": "monte-carlo",
    "advantage_normalization": "off",
    "hidden_sizes": (7,),
    "activation": "elu",
    "shared_network": True,
    "recurrent_size": 3,
    "sequence_length": 5,
    "dropout": 0.4,
    "initial_log_std": -1.5,
    "action_scale": "state",
    "action_std": 0.37,
    "action_std_decay": 1e-3,
    "action_std_minimum": 0.33,
    "mean_activation": "tanh",
    "action_bounds": "tanh",
    "critic_epochs": 3,
    "critic_minibatch_size": 17,
    "critic_learning_rate": 0.02,
    "rollout_length": 60,
    "num_envs": 3,
}


def judge_effects(case: Case) -> str:
    """A setting that was given does something, or is refused; it is never taken in silence."""
    plan = runs.draw(case, vector=False)
    plain: dict[str, Any] = {
        "steps": 360,
        "num_envs": 2,
        "rollout_length": 30,
        "hidden_sizes": (4,),
        "seed": plan.options["seed"],
        "vectorization": "sync",
    }
    if plan.algo in ("ppo", "ppo-kl"):
        plain |= {"minibatch_size": 30, "epochs": 2}
    base = replace(plan, options=plain)
    ended = klamp(case, *base.words("base"), **plan.surroundings())
    must_succeed(ended, "train")
    usual = json.loads((case.folder / "base" / "config.json").read_text())
    news = [name for name, value in OTHER_VALUES.items() if usual[name] != value]
    tried = []
    for _ in range(2):
        name = case.choose(news)
        other = replace(plan, options=plain | {name: OTHER_VALUES[name]})
        out = case.folder / "other"
        shutil.rmtree(out, ignore_errors=True)
        ended = klamp(case, *other.words("other"), **plan.surroundings())
        what = f"{plan.algo}, actions {plan.environment['action']}, {name}={OTHER_VALUES[name]}"
        tried.append(name)
        if ended.code == 2:
            must_be_refused(ended, what)
            continue
        must_succeed(ended, what)
        case.spoil(case.folder / "base", out)
        must(differs(case, name), f"{what}: taken, recorded, and without any effect")
    return f"{plan.algo}: {', '.join(tried)}"


def differs(case: Case, name: str) -> bool:
    """Whether two runs are different ones."""
    try:
        same_run(case.folder / "base", case.folder / "other", name)
    except Difference:
        return True
    return False


def _taken(names: Any) -> None:
    """A setting that takes anything."""
    for name in CONFIGS:
        kind = getattr(names, name)

        class Lenient(kind):  # type: ignore[misc, valid-type]
            def __post_init__(self) -> None:
                pass

        setattr(names, name, Lenient)


def _quiet(ended: Any) -> Any:
    """A fault that was survived in silence."""
    return dataclasses.replace(ended, code=0, err="")


def _raw(ended: Any) -> Any:
    """A fault told as Python tells it."""
    return dataclasses.replace(ended, code=1, err="Traceback (most recent call last):\n  boom")


def _ignored(base: Any, other: Any) -> None:
    """A setting that did nothing."""
    for path in (other / "metrics.jsonl", other / "summary.json"):
        shutil.copy(base / path.name, path)
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(base / "checkpoints", other / "checkpoints")


SETTINGS = Promise(
    name="settings",
    says="what cannot be a setting, a word, a name is refused in one paragraph that names it",
    judge=judge,
    plants={"anything is taken": _taken},
)
ENVIRONMENTS = Promise(
    name="environments",
    says="an environment that breaks its contract is refused in one paragraph, at the start or in "
    "training, in its own words; nothing that is not finite is saved",
    judge=judge_environments,
    plants={"a fault passes in silence": _quiet, "a traceback": _raw},
    quick=True,
)
EFFECTS = Promise(
    name="effects",
    says="a setting that was given has an effect, or is refused",
    judge=judge_effects,
    plants={"a setting without effect": _ignored},
    quick=True,
)
