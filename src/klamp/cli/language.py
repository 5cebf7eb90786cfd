"""`klamp lm train` and `klamp lm generate`."""

from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from klamp.cli.joining import Joining, run_together, several, with_shards
from klamp.cli.options import given_fields, parse, refuse_missing, value_of
from klamp.cli.training import ended, section, settings_of
from klamp.cli.words import on_the_command_line
from klamp.errors import ConfigError, closest


def language(words: list[str]) -> int:
    """`klamp lm train …` or `klamp lm generate …`."""
    commands = {"train": train, "generate": generate}
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    if words[0] not in commands:
        raise ConfigError(
            f"There is no command `klamp lm {words[0]}`.{closest(words[0], commands)} Expected one "
            f"of {', '.join(commands)}."
        )
    return commands[words[0]](words[1:])


_USAGE = """\
usage: klamp lm train TASK|MODEL [--algo NAME] [--max-kl NATS] [--steps TOKENS] [--out DIR] …
       klamp lm generate DIR [--prompt TEXT …] [--count N]

Trains language models by rewards, within trust regions. `klamp lm train --help` lists all options.
A first run, in under two minutes:

  klamp lm train sort --max-kl 0.01
"""


def train(words: list[str]) -> int:
    """`klamp lm train TASK|MODEL`: the options depend on the algorithm."""
    given = _train_options(words)
    if not given.task:
        refuse_missing("lm train", "TASK|MODEL")
    from klamp.lm.training.setup import configured
    from klamp.lm.training.sources import Sources
    from klamp.runtime.signals import Signals, leave_saying

    values = settings_of(given)
    options = {name: values[name] for name in given_fields(type(given), words) & set(values)}
    weights = given.reward_weights or None
    sources = Sources(given.data, given.reward, weights, given.environment)
    config = configured(given.task, given.algo, options, sources)
    if several(given.joining) and "shards" not in options:
        config = with_shards(config, given.joining.processes, "prompts")
    with Signals(leave_saying("nothing had been trained yet"), on_the_command_line) as signals:
        return _train_one(config, sources, given, signals)


def _train_one(config: Any, sources: Any, given: Any, signals: Any) -> int:
    """One run, in this process or in several."""
    from klamp.lm.training.train import train_config
    from klamp.training.callbacks import gather

    def lead(processes: Any) -> int:
        how = {"out": given.out, "device": given.device, "signals": signals}
        reporters = gather(given.log, quiet=given.quiet)
        return ended(train_config(config, sources, reporters=reporters, processes=processes, **how))

    def follow_it(processes: Any) -> None:
        from klamp.lm.training.follow import follow

        follow(config, sources, processes, signals=signals, device=given.device)

    facts = config.to_dict() | {"device": given.device, "command": "lm train"}
    return run_together(given.joining, config, facts, signals, lead, follow_it)


def resume(given: Any, signals: Any) -> int:
    """`klamp resume` of a language model's run; ``given`` are its options."""
    from klamp.lm.training.sources import Sources
    from klamp.lm.training.train import go_on, trusted
    from klamp.runs.folder import run_of
    from klamp.training.callbacks import gather

    how = {"steps": given.steps, "device": given.device, "signals": signals}

    def lead(processes: Any) -> int:
        reporters = gather(given.log, quiet=given.quiet)
        more = {"processes": processes, "trust": given.trust}
        return ended(go_on(given.folder, reporters=reporters, **more, **how))

    config = trusted(run_of(given.folder), Sources(), given.trust)

    def follow_it(processes: Any) -> None:
        from klamp.lm.training.follow import follow

        follow(config, Sources(), processes, resumed=given.folder, **how)

    facts = config.to_dict() | {"device": given.device, "command": f"resume to {given.steps}"}
    return run_together(given.joining, config, facts, signals, lead, follow_it)


def _train_options(words: list[str]) -> Any:
    """The options of `klamp lm train`, with the preset's values for their defaults."""
    import tyro

    from klamp.config.algorithms import algorithm_class
    from klamp.lm.config.presets import PRESETS, configure
    from klamp.lm.config.settings import GROUPS

    name = value_of("--algo", words) or "ppo"
    usual = configure("-", name, {})
    defaults = vars(usual.settings) | vars(usual.algorithm)
    sections = {**GROUPS, name: algorithm_class(PRESETS[name][0])}
    options = make_dataclass(
        "LanguageTrainOptions",
        [
            ("task", tyro.conf.Positional[str], ""),
            ("algo", str, name),
            ("data", Path | None, None),
            ("reward", tuple[str, ...], ()),
            ("reward_weights", tuple[float, ...], ()),
            ("environment", str | None, None),
            ("out", Path | None, None),
            ("device", str, "auto"),
            ("log", tuple[str, ...], ()),
            ("quiet", bool, False),
            ("joining", Joining, Joining()),
            *(section(heading, kind, defaults) for heading, kind in sections.items()),
        ],
        frozen=True,
    )
    options.__doc__ = """Train a language model by rewards.

    Args:
        task: A built-in task (sort, addition, walks, guess, guess-32, memory), or a model's folder.
        algo: The preset.
        data: Of a model of your own: a file of JSON lines, each with a prompt.
        reward: Reward functions, each as module:name or file.py:name.
        reward_weights: One number for each reward function.
        environment: What the model talks with, as module:name or file.py:name of its class.
        out: The run's folder, which must not exist, by default runs/lm-TASK-ALGO-SEED.
        device: cpu, gpu, or auto, which leaves it to JAX.
        log: Where else to write the metrics: csv, episodes, tensorboard, wandb, or several of them.
        quiet: Show no progress.
    """
    algorithms = ", ".join(PRESETS)
    description = (
        "Train a language model by rewards. A step is a sampled token, an episode a completion. "
        f"Algorithms: {algorithms}."
    )
    return parse(options, words, command="lm train", description=description)


def generate(words: list[str]) -> int:
    """`klamp lm generate DIR`: completions of a trained policy, one line each."""
    import tyro

    options = make_dataclass(
        "GenerateOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("prompt", tuple[str, ...], ()),
            ("count", int, 5),
            ("stochastic", bool, False),
            ("seed", int, 0),
            ("trust", bool, False),
        ],
    )
    options.__doc__ = """Completions of a trained policy.

    Args:
        folder: The run's folder, or one of its checkpoints.
        prompt: The prompts; by default some of the task's own.
        count: How many of the task's own.
        stochastic: Sample, instead of taking the most probable tokens.
        seed: Of the task's prompts, and of what is sampled.
        trust: Import the modules that config.json names, though no klamp of yours wrote them there.
    """
    given = parse(options, words, command="lm generate", description="Let a policy write.")
    from klamp.lm.training.train import load

    policy = load(given.folder, trust=given.trust)
    prompts = list(given.prompt) or policy.own_prompts(given.count, given.seed)
    how = {"deterministic": not given.stochastic, "seed": given.seed}
    for prompt, text in zip(prompts, policy.generate(prompts, **how), strict=True):
        print(f"{prompt}{text}")
    return 0


def evaluated(given: Any, checkpoint: Any) -> str:
    """What `klamp eval` says of a language model's run; ``given`` are its options."""
    if given.video is not None:
        raise ConfigError("`--video` cannot film what a language model writes. Leave it out.")
    from klamp.lm.training.train import evaluate

    played = evaluate(
        given.folder,
        episodes=given.episodes,
        checkpoint=checkpoint,
        seed=given.seed,
        deterministic=not given.stochastic,
        trust=given.trust,
    )
    returns, right = played.returns, ""
    if played.correct is not None:
        right = f"; {100 * played.accuracy:.1f} % right"
    return (
        f"mean return {returns.mean():.3f} ± {returns.std():.3f} over {len(returns)} completions "
        f"(from {returns.min():.3f} to {returns.max():.3f}; mean length "
        f"{played.lengths.mean():.1f} tokens{right})"
    )
