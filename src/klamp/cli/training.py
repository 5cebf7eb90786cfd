"""`klamp train`."""

import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from klamp.cli.config_file import ConfigFile, read_config_file, refuse_strange, wrappers_named
from klamp.cli.joining import Joining, run_together, several, with_shards
from klamp.cli.options import (
    environment_word,
    given_fields,
    options_of,
    parse,
    refuse_missing,
    value_of,
)
from klamp.cli.own_algorithm import import_algorithm
from klamp.cli.words import on_the_command_line
from klamp.errors import NOT_SAVED


def train(words: list[str]) -> int:
    """`klamp train ENV …`: the options depend on the algorithm, their defaults on the preset."""
    path, algo = value_of("--config", words), value_of("--algo", words)
    import_algorithm(algo)
    file = ConfigFile() if path is None else read_config_file(Path(path), algo)
    given = _train_options(words, file)
    refuse_strange(file, given.env, given.wrappers, given.network)
    env = given.env or file.data.get("env")
    if not env:
        refuse_missing("train", "ENV")
    from klamp.config.presets import sources
    from klamp.config.settings_file import as_toml

    values = settings_of(given)
    options = {name: values[name] for name in given_fields(type(given), words) & set(values)}
    wrappers = wrappers_named(given, words, file, env)
    config = _configured(env, given, file, options, wrappers)
    joining = given.joining
    if several(joining, given.seeds) and "shards" not in {*options, *file.settings}:
        config = with_shards(config, joining.processes)
    if given.dry_run:
        known = dict.fromkeys(file.settings, file.path.name) | dict.fromkeys(options, "option")
        print(as_toml(config, sources(config, known)))
        return 0
    from klamp.runtime.signals import Signals, leave_saying

    with Signals(leave_saying("nothing had been trained yet"), on_the_command_line) as signals:
        if given.seeds != 1:
            from klamp.training.seeds import count_up, train_seeds_config

            seeds = count_up(config.settings.seed, given.seeds)
            folders = train_seeds_config(
                config,
                seeds,
                out=given.out,
                workers=None,
                quiet=given.quiet,
                report=given.log,
                device=given.device,
                signals=signals,
                overwrite=given.overwrite,
                again=again(given.out),
            )
            return ended_together(folders)
        return _train_one(config, given, signals)


def _train_one(config: Any, given: Any, signals: Any) -> int:
    """One run, in this process or in several."""
    from klamp.training.callbacks import gather
    from klamp.training.train import train_config

    def lead(processes: Any) -> int:
        how = {"out": given.out, "device": given.device, "overwrite": given.overwrite}
        reporters = gather(given.log, quiet=given.quiet)
        return ended(
            train_config(config, reporters=reporters, signals=signals, processes=processes, **how)
        )

    def follow_it(processes: Any) -> None:
        from klamp.training.follow import follow

        follow(config, processes, signals=signals, device=given.device)

    facts = config.to_dict() | {"device": given.device, "command": "train"}
    return run_together(given.joining, config, facts, signals, lead, follow_it)


def _configured(
    env: str, given: Any, file: ConfigFile, options: dict[str, Any], wrappers: Sequence[str]
) -> Any:
    """The run's configuration: options before the file, the file before the preset."""
    from klamp.config.env_kwargs import env_kwargs_of
    from klamp.config.presets import configure

    config = configure(
        env,
        given.algo,
        {**file.settings, **options},
        env_kwargs=env_kwargs_of(given.env_kwargs) or file.data.get("env_kwargs"),
        wrappers=wrappers,
    )
    if (network := given.network or file.data.get("network")) is not None:
        config = replace(config, network=network)
    if (origin := given.start_from or file.data.get("start_from")) is not None:
        from klamp.training.start_from import starting_from

        config = starting_from(config, origin)
    return config


def again(out: Path | None) -> str:
    """How to resume many seeds, in words."""
    return "the same command" if out is None else f"the same command, or: klamp resume {out}"


def _train_options(words: list[str], file: ConfigFile) -> Any:
    """The options of `klamp train`, with the preset's values for their defaults."""
    from klamp.config.algorithms import ALGORITHMS, short_name
    from klamp.config.presets import configure
    from klamp.config.settings import GROUPS

    name = value_of("--algo", words) or file.data.get("algo", "ppo")
    first = words[0] if words and not words[0].startswith("-") else None
    env = first or file.data.get("env", "-")
    preset = configure(env, name, {})
    defaults = vars(preset.settings) | vars(preset.algorithm)
    sections = {**GROUPS, short_name(preset.algorithm): type(preset.algorithm)}
    options = make_dataclass(
        "TrainOptions",
        [
            ("env", environment_word(), ""),
            ("algo", str, name),
            ("env_kwargs", tuple[str, ...], ()),
            ("wrappers", tuple[str, ...], ()),
            ("network", str | None, None),
            ("config", Path | None, None),
            ("dry_run", bool, False),
            ("out", Path | None, None),
            ("overwrite", bool, False),
            ("seeds", int, 1),
            ("device", str, "auto"),
            ("log", tuple[str, ...], ()),
            ("start_from", Path | None, None),
            ("quiet", bool, False),
            ("joining", Joining, Joining()),
            *(section(heading, kind, defaults) for heading, kind in sections.items()),
        ],
        frozen=True,
    )
    options.__doc__ = _train_help()
    description = f"Train a policy. Algorithms: {', '.join(ALGORITHMS)}. Defaults: the preset's."
    others = {option: _listed(kinds) for option, kinds in _options_of_algorithms().items()}
    return parse(options, words, command="train", description=description, elsewhere=others)


def _train_help() -> str:
    """What tyro shows of each option."""
    from klamp.envs.wrappers import KNOWN_IN_WORDS

    return f"""Train a policy.

    Args:
        env: A Gymnasium id such as CartPole-v1, or module:id where importing module registers id;
            it may stand in the file of --config instead.
        algo: One of the algorithms by name, or your own as module:Class.
        env_kwargs: Arguments of the environment's constructor, KEY=VALUE, VALUE as JSON or text.
        wrappers: What the environment is wrapped in, the innermost first, as NAME or NAME=VALUE.
            {KNOWN_IN_WORDS}. Or your own, as module:name. Atari's (ALE/…) have the first of
            these, frame-stack=4 and sign-reward if none are given.
        network: Builds networks of your own, as module:function of (observation space, action
            space, key).
        config: A file of settings (.toml or .json, also the config.json of another run); options
            go before it, and it before the preset.
        dry_run: Print every setting and where it comes from, as a file that --config takes, and
            train nothing.
        out: The run's folder, which must not exist, by default runs/ENV-ALGO-SEED; with --seeds
            the folder that theirs lie in.
        overwrite: Put the new run in the place of the one that lies in its folder.
        seeds: How many seeds to train, from --seed on, side by side, each with its own folder.
            The same command goes on with what is missing of them.
        device: cpu, gpu, or auto, which leaves it to JAX.
        log: What else to write: csv, episodes, tensorboard, wandb, or several of them.
        start_from: The folder of a run, or of one of its checkpoints, whose parameters and
            observation normaliser this run begins with.
        quiet: Show no progress.
    """


def _options_of_algorithms() -> dict[str, list[str]]:
    """The options that belong to algorithms, with how each of these is asked for."""
    from klamp.config.algorithms import ALGORITHMS

    found: dict[str, list[str]] = {}
    for name, kind in ALGORITHMS.items():
        for option in options_of(kind):
            found.setdefault(option, []).append(f"`--algo {name}`")
    return found


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def section(heading: str, kind: type[Any], values: dict[str, Any]) -> tuple[str, type[Any], Any]:
    """A group of settings as a field of the options, which tyro shows under a heading."""
    unchecked = _unchecked(kind)
    defaults = {item.name: values[item.name] for item in fields(kind)}
    return heading.replace("-", "_"), unchecked, unchecked(**defaults)


@cache
def _unchecked(kind: type[Any]) -> type[Any]:
    """A group whose values are checked later, together with those of the other groups.

    The same class each time: tyro reads the help in the source of each class that it does not know.
    """
    return make_dataclass(
        kind.__name__,
        [],
        bases=(kind,),
        frozen=True,
        namespace={"__doc__": kind.__doc__, "__post_init__": lambda self: None},
    )


def settings_of(given: Any) -> dict[str, Any]:
    """The values of all sections, side by side."""
    sections = [
        part
        for part in vars(given).values()
        if is_dataclass(part) and not isinstance(part, Joining)
    ]
    return {name: value for part in sections for name, value in vars(part).items()}


def ended(result: Any) -> int:
    """The exit code of a run that came to its end."""
    if result.unsaved is None:
        return _learnt(result.summary)
    print(f"klamp: {on_the_command_line(result.unsaved)}", file=sys.stderr)
    return NOT_SAVED


def ended_together(folders: list[Path]) -> int:
    """The exit code of many runs that came to their ends."""
    from klamp.runs.bounded_read import read_object
    from klamp.runs.folder import CONFIG_LIMIT

    return max(_learnt(read_object(path / "summary.json", CONFIG_LIMIT)) for path in folders)


def _learnt(summary: dict[str, Any]) -> int:
    """0; 2, with a line that says so, where most updates of a run were refused."""
    from klamp.reporting.format import mostly_refused

    if (problem := mostly_refused(summary)) is None:
        return 0
    print(f"klamp: {problem}", file=sys.stderr)
    return 2
