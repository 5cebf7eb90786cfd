"""`klamp train` and `klamp resume`."""

import sys
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any

from klamp.cli.config_file import ConfigFile, as_toml, read_config_file, refuse_strange
from klamp.cli.options import (
    environment_word,
    given_fields,
    options_of,
    parse,
    refuse_missing,
    value_of,
)
from klamp.errors import NOT_SAVED, printable


def train(words: list[str]) -> int:
    """`klamp train ENV …`: the options depend on the algorithm, their defaults on the preset."""
    path, algo = value_of("--config", words), value_of("--algo", words)
    file = ConfigFile() if path is None else read_config_file(Path(path), algo)
    given = _train_options(words, file)
    refuse_strange(file, given.env, given.wrappers)
    env = given.env or file.data.get("env")
    if not env:
        refuse_missing("train", "ENV")
    from klamp.config.env_kwargs import env_kwargs_of
    from klamp.config.presets import configure, sources

    values = settings_of(given)
    options = {name: values[name] for name in given_fields(type(given), words) & set(values)}
    config = configure(
        env,
        given.algo,
        {**file.settings, **options},
        env_kwargs=env_kwargs_of(given.env_kwargs) or file.data.get("env_kwargs"),
        wrappers=given.wrappers or file.data.get("wrappers", ()),
    )
    if (origin := given.start_from or file.data.get("start_from")) is not None:
        from klamp.training.start_from import starting_from

        config = starting_from(config, origin)
    if given.dry_run:
        known = dict.fromkeys(file.settings, file.path.name) | dict.fromkeys(options, "option")
        print(as_toml(config, sources(config, known)))
        return 0
    from klamp.runtime.signals import Signals, leave_saying

    with Signals(leave_saying("nothing had been trained yet")) as signals:
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
            )
            return ended_together(folders)
        from klamp.training.callbacks import gather
        from klamp.training.train import train_config

        result = train_config(
            config,
            out=given.out,
            reporters=gather(given.log, quiet=given.quiet),
            signals=signals,
            device=given.device,
        )
    return ended(result)


def _train_options(words: list[str], file: ConfigFile) -> Any:
    """The options of `klamp train`, with the preset's values for their defaults."""
    from klamp.config.algorithms import ALGORITHMS
    from klamp.config.presets import configure
    from klamp.config.settings import GROUPS
    from klamp.envs.wrappers import KNOWN_IN_WORDS

    name = value_of("--algo", words) or file.data.get("algo", "ppo")
    first = words[0] if words and not words[0].startswith("-") else None
    env = first or file.data.get("env", "-")
    preset = configure(env, name, {})
    defaults = vars(preset.settings) | vars(preset.algorithm)
    sections = {**GROUPS, name: ALGORITHMS[name]}
    options = make_dataclass(
        "TrainOptions",
        [
            ("env", environment_word(), ""),
            ("algo", str, name),
            ("env_kwargs", tuple[str, ...], ()),
            ("wrappers", tuple[str, ...], ()),
            ("config", Path | None, None),
            ("dry_run", bool, False),
            ("out", Path | None, None),
            ("seeds", int, 1),
            ("device", str, "auto"),
            ("log", tuple[str, ...], ()),
            ("start_from", Path | None, None),
            ("quiet", bool, False),
            *(section(heading, kind, defaults) for heading, kind in sections.items()),
        ],
        frozen=True,
    )
    options.__doc__ = f"""Train a policy.

    Args:
        env: A Gymnasium id such as CartPole-v1, or module:id where importing module registers id;
            it may stand in the file of --config instead.
        algo: One of the algorithms by name.
        env_kwargs: Arguments of the environment's constructor, KEY=VALUE, VALUE as JSON or text.
        wrappers: What the environment is wrapped in, the innermost first, as NAME or NAME=VALUE.
            {KNOWN_IN_WORDS}. Or your own, as module:name.
        config: A file of settings (.toml or .json, also the config.json of another run); options
            go before it, and it before the preset.
        dry_run: Print every setting and where it comes from, as a file that --config takes, and
            train nothing.
        out: The run's folder, which must not exist, by default runs/ENV-ALGO-SEED; with --seeds
            the folder that theirs lie in.
        seeds: How many seeds to train, from --seed on, side by side, each with its own folder.
            The same command goes on with what is missing of them.
        device: cpu, gpu, or auto, which leaves it to JAX.
        log: Where else to write the metrics: csv, tensorboard, wandb, or several of them.
        start_from: The folder of a run, or of one of its checkpoints, whose parameters and
            observation normaliser this run begins with.
        quiet: Show no progress.
    """
    description = f"Train a policy. Algorithms: {', '.join(ALGORITHMS)}. Defaults: the preset's."
    others = {option: _listed(kinds) for option, kinds in _options_of_algorithms().items()}
    return parse(options, words, command="train", description=description, elsewhere=others)


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
    """A group of settings as a field of the options, which tyro shows under a heading.

    Its values are checked later, together with those of the other groups.
    """
    unchecked = make_dataclass(
        kind.__name__,
        [],
        bases=(kind,),
        frozen=True,
        namespace={"__doc__": kind.__doc__, "__post_init__": lambda self: None},
    )
    defaults = {item.name: values[item.name] for item in fields(kind)}
    return heading.replace("-", "_"), unchecked, unchecked(**defaults)


def settings_of(given: Any) -> dict[str, Any]:
    """The values of all sections, side by side."""
    sections = [part for part in vars(given).values() if is_dataclass(part)]
    return {name: value for part in sections for name, value in vars(part).items()}


def resume(words: list[str]) -> int:
    """`klamp resume DIR`."""
    given = _resume_options(words)
    from klamp.runtime.signals import Signals, leave_saying

    where = f"go on with: klamp resume {given.folder}"
    with Signals(
        leave_saying(f"nothing was trained since the last checkpoint; {where}")
    ) as signals:
        from klamp.runs.folder import of_language, runs_of_seeds

        if folders := runs_of_seeds(given.folder):
            from klamp.training.seeds import resume_seeds

            resume_seeds(
                given.folder,
                steps=given.steps,
                quiet=given.quiet,
                report=given.log,
                device=given.device,
                signals=signals,
                trust=given.trust,
            )
            return ended_together(folders)
        from klamp.training.callbacks import gather

        how: dict[str, Any] = {
            "steps": given.steps,
            "reporters": gather(given.log, quiet=given.quiet),
            "signals": signals,
            "device": given.device,
        }
        if of_language(given.folder):
            from klamp.lm.training import go_on

            result = go_on(given.folder, trust=given.trust, **how)
        else:
            from klamp.training.resume import go_on

            result = go_on(given.folder, trust=given.trust, **how)
    return ended(result)


def _resume_options(words: list[str]) -> Any:
    """The options of `klamp resume`."""
    import tyro

    options = make_dataclass(
        "ResumeOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("steps", int | None, None),
            ("device", str, "auto"),
            ("trust", bool, False),
            ("log", tuple[str, ...], ()),
            ("quiet", bool, False),
        ],
    )
    options.__doc__ = """Go on with a run.

    Args:
        folder: The run's folder, or that of many seeds.
        steps: Train to this number of steps instead of the run's own.
        device: cpu, gpu, or auto, which leaves it to JAX.
        trust: Import the module that config.json names, though no klamp of yours wrote it there.
        log: Where else to write the metrics: csv, tensorboard, wandb, or several of them.
        quiet: Show no progress.
    """
    return parse(
        options,
        words,
        command="resume",
        description="Go on with a run from its latest checkpoint.",
    )


def ended(result: Any) -> int:
    """The exit code of a run that came to its end."""
    if result.unsaved is None:
        return _learnt(result.summary)
    print(f"klamp: {printable(result.unsaved)}", file=sys.stderr)
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
