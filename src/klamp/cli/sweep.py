"""`klamp sweep`."""

import shlex
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from klamp.cli.config_file import ConfigFile, read_config_file, refuse_strange, wrappers_named
from klamp.cli.options import environment_word, parse, refuse_missing
from klamp.errors import ConfigError, shown


def sweep(words: list[str]) -> int:
    """`klamp sweep ENV --algo A --trials N`."""
    given = _options(words)
    algo = given.algo or None
    file = ConfigFile() if given.config is None else read_config_file(given.config, algo)
    refuse_strange(file, given.env, given.wrappers, None)
    if file.data.get("network"):
        raise ConfigError(
            f"{file.path} names the network {shown(file.data['network'])}, but `klamp sweep` tries "
            "settings with klamp's own networks. Take `network` out of the file."
        )
    env, algo = given.env or file.data.get("env"), algo or file.data.get("algo", "ppo")
    if not env:
        refuse_missing("sweep", "ENV")
    from klamp.config.presets import algorithm_called
    from klamp.config.search_space import as_toml, from_toml, search_space

    algorithm_called(algo)
    space = None if given.space is None else from_toml(_text(given.space), algo, str(given.space))
    if given.print_space:
        print(as_toml(search_space(env, algo, space)), end="")
        return 0
    settings = {name: value for name, value in file.settings.items() if name != "seed"}
    settings |= {} if given.steps is None else {"steps": given.steps}
    from klamp.config.env_kwargs import env_kwargs_of
    from klamp.runtime.signals import Signals, leave_saying

    with Signals(leave_saying("nothing had been tried yet")) as signals:
        from klamp.envs.source import resolve
        from klamp.training.sweep.sweep import sweep_config

        source = resolve(
            env,
            env_kwargs_of(given.env_kwargs) or file.data.get("env_kwargs"),
            wrappers_named(given, words, file, env),
        )
        found = sweep_config(
            source,
            algo,
            space,
            settings,
            trials=given.trials,
            seeds_per_trial=given.seeds_per_trial,
            jobs=given.jobs,
            out=given.out,
            storage=given.storage or None,
            quiet=given.quiet,
            device=given.device,
            signals=signals,
            command=shlex.join(["klamp", "sweep", *words]),
        )
    print(found)
    return 0


def _options(words: list[str]) -> Any:
    """The options of `klamp sweep`."""
    options = make_dataclass(
        "SweepOptions",
        [
            ("env", environment_word(), ""),
            ("algo", str, ""),
            ("trials", int, 50),
            ("steps", int | None, None),
            ("seeds_per_trial", int, 1),
            ("jobs", int | None, None),
            ("out", Path | None, None),
            ("storage", str, ""),
            ("space", Path | None, None),
            ("print_space", bool, False),
            ("env_kwargs", tuple[str, ...], ()),
            ("wrappers", tuple[str, ...], ()),
            ("config", Path | None, None),
            ("device", str, "auto"),
            ("quiet", bool, False),
        ],
    )
    options.__doc__ = """Try settings, and keep the best.

    Args:
        env: A Gymnasium id such as CartPole-v1, or module:id.
        algo: One of the algorithms by name; ppo if left out.
        trials: How many settings are tried in all; the same command goes on with what is missing.
        steps: Environment steps of each run, instead of the preset's.
        seeds_per_trial: Seeds that each trial is trained with: 1000, 1001 and so on.
        jobs: Trials that run at once, by default one per core.
        out: The sweep's folder, by default sweeps/ENV-ALGO.
        storage: Where the trials are kept: by default a file in that folder; the URL of a
            PostgreSQL server, postgresql+psycopg://USER@HOST/DATABASE, for several machines.
        space: A file that says what is tried, such as --print-space prints.
        print_space: Print what would be tried, as a file that --space takes, and try nothing.
        env_kwargs: Arguments of the environment's constructor, KEY=VALUE, VALUE as JSON or text.
        wrappers: What the environment is wrapped in, the innermost first, as NAME or NAME=VALUE.
        config: A file of settings that all trials have (.toml or .json); they are not tried.
        device: cpu, gpu, or auto, which leaves it to JAX.
        quiet: Show no progress.
    """
    return parse(
        options,
        words,
        command="sweep",
        description="Try settings of an algorithm, and keep the best as a file.",
    )


def _text(path: Path) -> str:
    """A file that a person names. Raises ``ConfigError``."""
    from klamp.errors import ConfigError
    from klamp.runs.bounded_read import Unreadable, read_bounded
    from klamp.runs.folder import CONFIG_LIMIT

    try:
        return read_bounded(path, CONFIG_LIMIT).decode("utf-8")
    except (Unreadable, UnicodeDecodeError) as error:
        raise ConfigError(f"The search space in {path} cannot be read: {error}.") from error
