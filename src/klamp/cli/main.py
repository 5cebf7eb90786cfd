"""The command line. Each command imports what it needs, so that help answers at once."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from klamp.cli.options import given_fields, options_of, parse, value_of
from klamp.errors import NOT_SAVED, ConfigError, KlampError, NotSaved, Stopped, closest, printable
from klamp.runtime.streams import open_standard_files, patient_stderr

USAGE = """\
usage: klamp COMMAND …

Trains policies within trust regions: TRPO, PPO and the family around them.

  klamp train ENV [--algo NAME] [--steps N] [--seed S] [--seeds N] [--out DIR] …
        train a policy; ENV is a Gymnasium id such as CartPole-v1, or module:id
  klamp resume DIR [--steps N]
        go on with a run from its latest checkpoint, or with what is missing of many seeds
  klamp eval DIR [--episodes N] [--seed S] [--stochastic] [--video FILE]
        run whole episodes with a trained policy
  klamp compare DIR …
        runs side by side: a table with intervals, and a page with plots

Add --help to a command for all its options. A first run, in under 15 seconds:

  klamp train CartPole-v1

Exit codes: 0 done; 2 bad input; 128 + n stopped by signal n, and saved; 74 what was trained could
not be written, as the last line says.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code, as ``USAGE`` has them."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    open_standard_files()
    with patient_stderr():
        return _run(words)


def _run(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except KlampError as error:
        print(f"klamp: {error}", file=sys.stderr)
        return NOT_SAVED if isinstance(error, NotSaved) else 2
    except Stopped as stopped:
        print(f"klamp: {stopped}", file=sys.stderr)
        return stopped.code
    except KeyboardInterrupt:
        print("klamp: interrupted", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": _train,
        "resume": _resume,
        "eval": _eval,
        "compare": _compare,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if words[0] in ("--version", "version"):
        from importlib.metadata import version

        print(f"klamp {version('klamp')}")
        return 0
    if words[0] not in commands:
        raise ConfigError(
            f"There is no command `{words[0]}`.{closest(words[0], list(commands))} "
            f"Expected one of {', '.join(commands)}; `klamp --help` shows what they do."
        )
    return commands[words[0]](words[1:])


def _train(words: list[str]) -> int:
    """`klamp train ENV …`: the options depend on the algorithm, their defaults on the preset."""
    given = _train_options(words, env=words[0] if words else "-")
    if given.env != words[0]:
        # ENV stood behind some options, so the defaults shown to the parser were not its own.
        given = _train_options(words, env=given.env)
    from klamp.config.env_kwargs import env_kwargs_of
    from klamp.config.presets import configure
    from klamp.runtime.signals import Signals, leave_saying

    values = vars(given.settings) | vars(given.algorithm)
    names = given_fields(type(given), words) & set(values)
    chosen, arguments = {name: values[name] for name in names}, env_kwargs_of(given.env_kwargs)
    config = configure(given.env, given.algo, chosen, env_kwargs=arguments, wrappers=given.wrappers)
    with Signals(leave_saying("nothing had been trained yet")) as signals:
        if given.seeds != 1:
            from klamp.training.seeds import count_up, train_seeds_config

            seeds = count_up(config.settings.seed, given.seeds)
            train_seeds_config(
                config,
                seeds,
                out=given.out,
                workers=None,
                quiet=given.quiet,
                device=given.device,
                signals=signals,
            )
            return 0
        from klamp.reporting.console import reporter
        from klamp.reporting.reporter import Silent
        from klamp.training.train import train_config

        to = Silent() if given.quiet else reporter()
        result = train_config(config, out=given.out, to=to, signals=signals, device=given.device)
    return _ended(result)


def _train_options(words: list[str], *, env: str) -> Any:
    """The options of `klamp train`, with the preset of ``env`` for their defaults."""
    import tyro

    from klamp.config.algorithms import ALGORITHMS
    from klamp.config.presets import configure
    from klamp.config.settings import Settings
    from klamp.envs.wrappers import KNOWN_IN_WORDS

    name = value_of("--algo", words) or "ppo"
    preset = configure(env, name, {})
    options = make_dataclass(
        "TrainOptions",
        [
            ("env", tyro.conf.Positional[str]),
            ("algo", str, name),
            ("env_kwargs", tuple[str, ...], ()),
            ("wrappers", tuple[str, ...], ()),
            ("out", Path | None, None),
            ("seeds", int, 1),
            ("device", str, "auto"),
            ("quiet", bool, False),
            ("settings", Settings, preset.settings),
            ("algorithm", ALGORITHMS[name], preset.algorithm),
        ],
        frozen=True,
    )
    options.__doc__ = f"""Train a policy.

    Args:
        env: A Gymnasium id such as CartPole-v1, or module:id where importing module registers id.
        algo: One of the algorithms by name.
        env_kwargs: Arguments of the environment's constructor, KEY=VALUE, VALUE as JSON or text.
        wrappers: What the environment is wrapped in, the innermost first, as NAME or NAME=VALUE.
            {KNOWN_IN_WORDS}. Or your own, as module:name.
        out: The run's folder, which must not exist, by default runs/ENV-ALGO-SEED; with --seeds
            the folder that theirs lie in.
        seeds: How many seeds to train, from --seed on, side by side, each with its own folder.
            The same command goes on with what is missing of them.
        device: cpu, gpu, or auto, which leaves it to JAX.
        quiet: Show no progress.
    """
    description = f"Train a policy. Algorithms: {', '.join(ALGORITHMS)}. Defaults: the preset's."
    others = {
        option: f"`--algo {other}`"
        for other, kind in ALGORITHMS.items()
        for option in options_of(kind)
    }
    return parse(options, words, command="train", description=description, elsewhere=others)


def _resume(words: list[str]) -> int:
    """`klamp resume DIR`."""
    import tyro

    options = make_dataclass(
        "ResumeOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("steps", int | None, None),
            ("device", str, "auto"),
            ("trust", bool, False),
            ("quiet", bool, False),
        ],
    )
    options.__doc__ = """Go on with a run.

    Args:
        folder: The run's folder, or that of many seeds.
        steps: Train to this number of steps instead of the run's own.
        device: cpu, gpu, or auto, which leaves it to JAX.
        trust: Import the module that config.json names, though no klamp of yours wrote it there.
        quiet: Show no progress.
    """
    given = parse(
        options,
        words,
        command="resume",
        description="Go on with a run from its latest checkpoint.",
    )
    from klamp.runtime.signals import Signals, leave_saying

    where = f"go on with: klamp resume {given.folder}"
    with Signals(
        leave_saying(f"nothing was trained since the last checkpoint; {where}")
    ) as signals:
        from klamp.runs.folder import runs_of_seeds

        if runs_of_seeds(given.folder):
            from klamp.training.seeds import resume_seeds

            resume_seeds(
                given.folder,
                steps=given.steps,
                quiet=given.quiet,
                device=given.device,
                signals=signals,
                trust=given.trust,
            )
            return 0
        from klamp.reporting.console import reporter
        from klamp.reporting.reporter import Silent
        from klamp.training.resume import go_on

        result = go_on(
            given.folder,
            steps=given.steps,
            to=Silent() if given.quiet else reporter(),
            signals=signals,
            device=given.device,
            trust=given.trust,
        )
    return _ended(result)


def _ended(result: Any) -> int:
    """The exit code of a run that came to its end."""
    if result.unsaved is None:
        return 0
    print(f"klamp: {printable(result.unsaved)}", file=sys.stderr)
    return NOT_SAVED


def _eval(words: list[str]) -> int:
    """`klamp eval DIR`."""
    import tyro

    options = make_dataclass(
        "EvalOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("episodes", int, 20),
            ("seed", int, 0),
            ("stochastic", bool, False),
            ("video", Path | None, None),
            ("trust", bool, False),
        ],
    )
    options.__doc__ = """Run whole episodes with a trained policy.

    Args:
        folder: The run's folder.
        episodes: Whole episodes to run.
        seed: Seed of the episodes.
        stochastic: Sample actions instead of taking the most probable ones.
        video: Film one episode into this file, .mp4 or .gif.
        trust: Import the module that config.json names, though no klamp of yours wrote it there.
    """
    given = parse(
        options,
        words,
        command="eval",
        description="Run whole episodes with a trained policy.",
    )
    from klamp.evaluation.evaluate import evaluate
    from klamp.evaluation.video import check_video, record_video
    from klamp.training.train import load

    if given.video is not None:
        check_video(given.video)
    policy = load(given.folder, trust=given.trust)
    result = evaluate(
        policy, episodes=given.episodes, seed=given.seed, deterministic=not given.stochastic
    ).summary()
    print(
        f"{printable(policy.config.env)}: "
        f"mean return {result['return_mean']:.1f} ± {result['return_std']:.1f} "
        f"over {result['episodes']} episodes (from {result['return_min']:.1f} to "
        f"{result['return_max']:.1f}; mean length {result['length_mean']:.1f})"
    )
    if given.video is not None:
        total = record_video(policy, given.video, seed=given.seed)
        print(f"Filmed an episode of return {total:.1f} into {printable(str(given.video))}")
    return 0


def _compare(words: list[str]) -> int:
    """`klamp compare DIR …`."""
    import tyro

    options = make_dataclass(
        "CompareOptions",
        [
            ("folders", tyro.conf.Positional[tuple[Path, ...]]),
            ("out", Path, Path("compare.html")),
        ],
    )
    options.__doc__ = """Runs side by side.

    Args:
        folders: Run folders; seeds of one environment and algorithm are pooled.
        out: The page with plots.
    """
    given = parse(
        options,
        words,
        command="compare",
        description="Runs side by side: a table with intervals, and a page with plots.",
    )
    if not given.folders:
        raise ConfigError(
            "`klamp compare` was given no folders. Write `klamp compare DIR …` with the folders of "
            "runs that have ended, such as `runs/*`."
        )
    from klamp.cli.compare import compare

    print(compare(list(given.folders), given.out))
    return 0
