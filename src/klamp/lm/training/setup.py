"""What a run is made of: the model it begins with, and where its completions come from."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from klamp.config.algorithms import AlgorithmConfig
from klamp.errors import ConfigError, closest
from klamp.lm.collection.collector import Collector, TaskCollector
from klamp.lm.collection.text_collector import TextCollector
from klamp.lm.config.presets import USUAL, configure, refuse_idle
from klamp.lm.config.run import Configuration
from klamp.lm.config.settings import Settings
from klamp.lm.environments.environment import resets
from klamp.lm.environments.text_game import TextGame
from klamp.lm.evaluation.policy import Texts
from klamp.lm.learning.supervised import warm_started
from klamp.lm.networks.adapters import LoRA, adapt, adapters_only
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import TurnLimits
from klamp.lm.networks.model import language_model
from klamp.lm.networks.pretrained import Pretrained, load_pretrained
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tasks.task import Task, demonstrate
from klamp.lm.training.iteration import Iteration
from klamp.lm.training.memory import check_memory
from klamp.lm.training.sources import Sources
from klamp.runtime.compile_cache import compile_cheaply
from klamp.runtime.device import in_float32
from klamp.runtime.joined import ALONE, Arrays, Processes
from klamp.runtime.seeding import Purpose, key

BASE = "base"
"""The folder, in a run's, of the model that a run of a built-in task begins with."""


def configured(
    task: str, algorithm: AlgorithmConfig | str | None, given: dict[str, Any], sources: Sources
) -> Configuration:
    """The configuration of a run; ``ConfigError`` where there is no such task, and no such model.

    What is given as objects is recorded by name.
    """
    recorded = sources.recorded()
    if task in USUAL:
        if sources != Sources():
            raise ConfigError(
                f"The task `{task}` has data and rewards of its own: leave out `data`, `reward` "
                "and `environment`, or name the folder of a model in its place."
            )
        config = configure(task, algorithm, given, USUAL[task])
        refuse_idle(config, given, built_in=True)
        return config
    if not Path(task).is_dir():
        raise ConfigError(
            f"There is no task `{task}`, and no folder of that name.{closest(task, USUAL)} "
            f"Expected one of {', '.join(USUAL)}, or the folder of a model, such as "
            "`./Qwen3-0.6B`."
        )
    if not (sources.reward or sources.text_environment):
        raise ConfigError(
            "Nothing rewards the completions. Give reward functions by `reward=…`, such as "
            "`reward='rewards.py:correct'`, or an `environment`, such as 'game.py:Game'."
        )
    config = configure(str(Path(task).absolute()), algorithm, given, None, recorded)
    refuse_idle(config, given, built_in=False)
    return config


def start(
    config: Configuration, folder: Path, sources: Sources, processes: Processes = ALONE
) -> Iteration:
    """The parts of a run, as they are at its start; its reference is the model it begins with.

    The supervised start of a built-in task is made once, and kept in the run's folder, which is
    used by process 0 alone.
    """
    settings = config.settings
    if config.task in TASKS:
        task = TASKS[config.task]
        check_memory(config, task.decoder, *lengths(task))
        if processes.count > 1:
            return _of_task(config, task, _told(config, task, folder, processes), None, processes)
        kept = _kept(folder)
        return _begun(config, task, folder) if kept is None else _of_task(config, task, kept)
    # What is trained is trained in float32; a base that is frozen stays as it is.
    model = load_pretrained(config.task, None if settings.adapter_rank else "float32")
    collector = replace(own_collector(config, model, sources), processes=processes)
    texts = own_texts(model, collector, settings)
    return _iteration(config, model.decoder, collector, texts, None, processes)


def _iteration(
    config: Configuration,
    decoder: Decoder,
    collector: Collector,
    texts: Texts,
    like: Iteration | None = None,
    processes: Processes = ALONE,
) -> Iteration:
    """A run that begins with this decoder; by the programs of one whose decoder has its shapes."""
    settings = config.settings
    trainable: Any = eqx.is_inexact_array
    if settings.adapter_rank:
        lora = LoRA(settings.adapter_rank)
        decoder = adapt(decoder, lora, key(settings.seed, Purpose.INITIALISE, 3))
        trainable = adapters_only(decoder)
    theta, whole = language_model(
        decoder,
        trainable,
        temperature=settings.temperature,
        value_hidden=settings.value_hidden,
        key=key(settings.seed, Purpose.INITIALISE, 1),
    )
    if like is None:
        return Iteration(config, theta, whole, collector, texts, None, processes)
    # Programs know a model by its functions, which are made anew with each.
    whole = jax.tree.unflatten(jax.tree.structure(like.model), jax.tree.leaves(whole))
    return Iteration(config, theta, whole, collector, texts, like.programs)


def _of_task(
    config: Configuration,
    task: Task,
    decoder: Decoder,
    like: Iteration | None = None,
    processes: Processes = ALONE,
) -> Iteration:
    """A run of a built-in task that begins with this decoder."""
    collector = TaskCollector(task, config.settings, processes)
    return _iteration(config, decoder, collector, texts_of(task), like, processes)


def own_collector(config: Configuration, model: Pretrained, sources: Sources) -> TextCollector:
    """Where the completions of a model of the user's own come from; all of it is checked."""
    settings, sources = config.settings, sources.over(config)
    dataset, rewards, make = sources.rows(), sources.rewards(), sources.environment()
    limits = TurnLimits(settings.max_new_tokens, model.end_tokens)
    collector = TextCollector(model, dataset, rewards, None, settings)
    turns = 1
    if make is None:
        collector.check()
    else:
        game = TextGame(
            make,
            collector.encode,
            collector.encode_observation,
            collector.decode,
            limits,
            settings.max_turns,
            settings.max_prompt_tokens,
        )
        collector, turns = replace(collector, game=game), settings.max_turns
    actions = turns * settings.max_new_tokens
    tokens = settings.max_prompt_tokens + actions
    check_memory(config, model.decoder.config, tokens, actions)
    return collector


def own_texts(model: Pretrained, collector: TextCollector, settings: Settings) -> Texts:
    """How a model of the user's own reads and writes."""

    def prompts(count: int, seed: int) -> list[str]:
        rows = collector.dataset.drawn(seed, 0, count)
        return [str(prompt) for prompt in collector.dataset.prompts(rows.tolist())]

    def save(decoder: Decoder, folder: Path) -> None:
        replace(model, decoder=decoder).save(folder)

    limits = TurnLimits(settings.max_new_tokens, model.end_tokens)
    return Texts(collector.encode, collector.decode, limits, prompts, save)


def _kept(folder: Path) -> Decoder | None:
    """The model that the run began with, where it was made already."""
    path = folder / BASE
    return load_pretrained(path).decoder if path.exists() else None


def _begun(config: Configuration, task: Task, folder: Path) -> Iteration:
    """A run of a built-in task with a new model, which is kept in the run's folder.

    While the supervised start is compiled and made, so are the programs of the first updates: a
    model that knows nothing has the same shapes.
    """
    drawn = _drawn(config, task)
    with ThreadPoolExecutor(1) as other:
        like = other.submit(_prepared, config, task, drawn)
        decoder = _kept_from_now(_warm_started(drawn, task, config.settings), task, folder)
    return _of_task(config, task, decoder, like.result())


def _told(config: Configuration, task: Task, folder: Path, processes: Processes) -> Decoder:
    """The model that a run of several processes begins with: process 0 tells it the others."""
    drawn = _drawn(config, task)
    arrays, rest = eqx.partition(drawn, eqx.is_array)

    def make() -> Arrays:
        if processes.index:
            return {}
        decoder = _kept(folder) or _kept_from_now(
            _warm_started(drawn, task, config.settings), task, folder
        )
        leaves = jax.tree.leaves(eqx.filter(decoder, eqx.is_array))
        return {str(place): np.asarray(leaf) for place, leaf in enumerate(leaves)}

    told = processes.exchange(make)[0]
    leaves = [jnp.asarray(told[str(place)]) for place in range(len(told))]
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), rest)


def _drawn(config: Configuration, task: Task) -> Decoder:
    """The model of a task that knows nothing."""
    first = key(config.settings.seed, Purpose.INITIALISE)
    return compile_cheaply(random_decoder)(task.decoder, first)


def _kept_from_now(decoder: Decoder, task: Task, folder: Path) -> Decoder:
    """A model, which the run's folder then has, whole."""
    unfinished = folder / f".{BASE}"
    shutil.rmtree(unfinished, ignore_errors=True)
    texts_of(task).save(decoder, unfinished)
    unfinished.rename(folder / BASE)
    return decoder


@in_float32
def _prepared(config: Configuration, task: Task, decoder: Decoder) -> Iteration:
    """A run whose programs are compiled."""
    run = _of_task(config, task, decoder)
    run.compile(run.fresh_state())
    return run


def _warm_started(decoder: Decoder, task: Task, settings: Settings) -> Decoder:
    """The decoder after its supervised start, if it has one."""
    warm, steps = task.warm_start, settings.supervised_steps
    if warm is None or steps == 0:
        return decoder
    warm = warm if steps is None else replace(warm, steps=steps)
    # A pytree, so that the key is an argument of the compiled program, which all seeds share.
    show = jax.tree_util.Partial(demonstrate, task.environment, key(settings.seed, Purpose.CHECK))
    return warm_started(decoder, show, warm, key(settings.seed, Purpose.INITIALISE, 2))[0]


def texts_of(task: Task) -> Texts:
    """How the model of a built-in task reads and writes."""

    def prompts(count: int, seed: int) -> list[str]:
        numbers = jnp.arange(count)
        _, tokens, valid = resets(task.environment, key(seed, Purpose.EVALUATE), numbers)
        rows = zip(np.asarray(tokens), np.asarray(valid), strict=True)
        return [task.decode(row[said].tolist()) for row, said in rows]

    def save(decoder: Decoder, folder: Path) -> None:
        Pretrained(decoder).save(folder)

    return Texts(task.encode, task.decode, task.environment.limits, prompts, save)


def lengths(task: Task) -> tuple[int, int]:
    """The most tokens, and sampled tokens, that a sequence of a task may have."""
    environment = task.environment
    state, prompt, _ = jax.eval_shape(environment.reset, jax.random.key(0))
    said = jax.ShapeDtypeStruct((environment.limits.new_tokens,), jnp.int32)
    count = jax.ShapeDtypeStruct((), jnp.int32)
    heard = jax.eval_shape(environment.step, state, said, count).observation
    actions = environment.turns * environment.limits.new_tokens
    return prompt.size + actions + (environment.turns - 1) * heard.size, actions
