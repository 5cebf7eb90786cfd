"""Settings from a file, from options, or from both: the same run; and what --dry-run says of it."""

import json
import shutil
import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import runs
from case import Case, Ended, Promise, klamp, must, must_be_refused, must_succeed
from policies import same_run

BOOKKEEPING = ("signature", "klamp_version")
OTHER: dict[str, Any] = {
    "seed": 77,
    "discount": 0.123,
    "hidden_sizes": [9, 9],
    "activation": "silu",
    "shared_network": True,
    "checkpoint_interval": 12345,
    "normalize_observation": True,
}
"""What a file may say of a setting that an option goes before."""


def judge(case: Case) -> str:
    """One run, described in two ways."""
    drawn = runs.draw(case, vector=False, few=True)
    batch = drawn.copies * drawn.options["rollout_length"]
    plan = replace(drawn, options=drawn.options | {"steps": 2 * batch}, updates=2)
    with plan.named():
        return judge_files(case, plan)


def judge_files(case: Case, plan: runs.Plan) -> str:
    """One plan, trained by the façade, and by the command line with a file."""
    names = import_module("klamp")
    direct = runs.train_here(case, names, plan, "direct")
    recorded = config_of(direct)
    words, text = described(case, plan)
    told = dry(case, plan, *words)
    agree_on_settings(f"--dry-run of {words} with {text}", told, recorded)
    must(not (case.folder / "filed").exists(), "--dry-run made the folder")
    command(case, plan, "train", *words, "--out", "filed", what=f"{words} with {text}")
    filed = case.folder / "filed"
    must(config_of(filed) == recorded, f"{words} with {text}: {differences(filed, direct)}")
    same_run(direct, filed, f"{words} with {text}")
    match case.choose(("a run's config", "what --dry-run said", "presets", "refused")):
        case "a run's config":
            from_a_run(case, plan, direct)
        case "what --dry-run said":
            (case.folder / "said.toml").write_text(dry_text(case, plan, *words))
            again = dry(case, plan, runs.NAME, "--config", "said.toml")
            agree_on_settings("--dry-run of what --dry-run said", again, recorded)
        case "presets":
            presets(case, plan)
        case "refused":
            refused(case, plan)
    return f"{words}; {plan.text()}"


def described(case: Case, plan: runs.Plan) -> tuple[list[str], str]:
    """Some settings in a file, the rest as options; some of the file's are overridden."""
    inside = {k: v for k, v in plan.options.items() if case.chance(0.6)}
    outside = {k: v for k, v in plan.options.items() if k not in inside}
    for name, value in OTHER.items():
        if name in outside and case.chance(0.5):
            inside[name] = value
    words = [runs.NAME] if case.chance(0.5) else []
    env, algo = [] if words else [runs.NAME], ["--algo", plan.algo]
    data = {k: list(v) if isinstance(v, tuple) else v for k, v in inside.items()}
    if case.chance(0.6):
        data, algo = {"algo": plan.algo} | data, []
    if case.chance(0.5):
        data = {"env": runs.NAME} | data
        words = words or env  # a file that names a module is not believed by itself
    if case.plant is not None:
        data, outside = case.plant(data, outside)
    text = as_text(case, data)
    return [*(words or env), *algo, "--config", text[0], *runs.as_options(outside)], text[1]


def as_text(case: Case, data: dict[str, Any]) -> tuple[str, str]:
    """The name of the file, and what it holds."""
    if case.chance(0.5):
        name, text = "given.json", json.dumps(data)
    else:
        name = "given.toml"
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in data.items()) + "\n"
    (case.folder / name).write_text(text)
    return name, text


def command(case: Case, plan: runs.Plan, *words: Any, what: str = "") -> Ended:
    """A command that nothing is wrong with."""
    return must_succeed(klamp(case, *words, **plan.surroundings()), what or f"klamp {words}")


def dry_text(case: Case, plan: runs.Plan, *words: Any) -> str:
    """What --dry-run prints."""
    return command(case, plan, "train", *words, "--dry-run").out


def dry(case: Case, plan: runs.Plan, *words: Any) -> dict[str, Any]:
    """The settings that --dry-run tells."""
    return tomllib.loads(dry_text(case, plan, *words))


def config_of(run: Path) -> dict[str, Any]:
    """What a run recorded of its settings."""
    config = json.loads((run / "config.json").read_text())
    return {key: value for key, value in config.items() if key not in BOOKKEEPING}


def differences(first: Path, second: Path) -> list[Any]:
    """The settings that two runs recorded differently."""
    a, b = config_of(first), config_of(second)
    return [
        (key, a.get(key), b.get(key)) for key in a.keys() | b.keys() if a.get(key) != b.get(key)
    ]


def agree_on_settings(what: str, told: dict[str, Any], recorded: dict[str, Any]) -> None:
    """What was told, less what is unset, is what was recorded."""
    known = {key: value for key, value in recorded.items() if value is not None}
    known = {key: value for key, value in known.items() if value not in ([], {})}
    told = {key: value for key, value in told.items() if value not in ([], {})}
    differ = [k for k in known.keys() | told.keys() if known.get(k) != told.get(k)]
    said = [(k, told.get(k), known.get(k)) for k in sorted(differ)]
    must(not said, f"{what}: (setting, told, recorded) {said}")


def from_a_run(case: Case, plan: runs.Plan, direct: Path) -> None:
    """The file of a run, of which something is changed."""
    source = case.choose(("direct", "direct/config.json"))
    change = {"seed": int(case.rng.integers(1000)), "discount": 0.5}
    told = dry(case, plan, "--config", source, *runs.as_options(change))
    agree_on_settings(f"--config {source} {change}", told, config_of(direct) | change)
    if case.chance(0.3):
        command(case, plan, "train", "--config", source, "--out", "again")
        same_run(direct, case.folder / "again", f"--config {source}")


def presets(case: Case, plan: runs.Plan) -> None:
    """``klamp presets`` prints what is trained where nothing is said."""
    env = case.choose(("CartPole-v1", "Pendulum-v1", "HalfCheetah-v5", "Acrobot-v1"))
    told = tomllib.loads(command(case, plan, "presets", env, "--algo", plan.algo).out)
    agree_on_settings(f"presets {env}", told, dry(case, plan, env, "--algo", plan.algo))


def refused(case: Case, plan: runs.Plan) -> None:
    """A file with something wrong in it is refused, by its name, before anything is written."""
    path, usual = case.folder / "wrong.toml", 'algo = "ppo"\n'
    lines = ("discont = 0.9", "discount = 1.5", 'discount = "much"', "discount", "steps = -1")
    line = case.choose(lines)
    path.write_text(usual + line)
    ended = klamp(case, "train", "CartPole-v1", "--config", path.name, "--out", "new")
    must_be_refused(ended, f"--config with {path.read_text()!r}")
    # What is no TOML has no setting to name, only a file.
    named = line.split(" =")[0] if " =" in line else path.name
    must(named in ended.err, f"--config with {line!r}: {ended.err!r} does not name {named}")
    must(not (case.folder / "new").exists(), "--config was refused, but the folder was made")
    shutil.rmtree(case.folder / "direct")


def _ignored_option(data: dict[str, Any], outside: dict[str, Any]) -> Any:
    """The file goes before the options."""
    return data, {key: value for key, value in outside.items() if key not in data}


def _ignored_key(data: dict[str, Any], outside: dict[str, Any]) -> Any:
    """A key of the file is passed over."""
    ours = [key for key in data if key not in ("env", "algo", "vectorization", "steps")]
    return {key: value for key, value in data.items() if key not in ours[:1]}, outside


def _another_value(data: dict[str, Any], outside: dict[str, Any]) -> Any:
    """Numbers of the file are rounded."""
    rounded = {k: round(v, 2) if isinstance(v, float) else v for k, v in data.items()}
    return rounded, outside


PROMISE = Promise(
    name="config-files",
    says="settings in a TOML or JSON file, in a run's config.json and as options give the same "
    "config.json and bytes, options before the file; --dry-run tells what the run records",
    judge=judge,
    plants={
        "the file goes before the options": _ignored_option,
        "a key of the file is passed over": _ignored_key,
        "numbers of the file are rounded": _another_value,
    },
    limit_s=150,
    quick=True,
)
