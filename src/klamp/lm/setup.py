"""What a run is made of: the model it begins with, and where its completions come from."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from klamp.config.algorithms import AlgorithmConfig
from klamp.errors import ConfigError, closest
from klamp.lm.adapters import LoRA, adapt, adapters_only
from klamp.lm.collection import Collector, TaskCollector
from klamp.lm.config import Configuration
from klamp.lm.decoder import Decoder, random_decoder
from klamp.lm.environment import resets
from klamp.lm.generation import TurnLimits
from klamp.lm.iteration import Iteration
from klamp.lm.memory import check_memory
from klamp.lm.model import language_model
from klamp.lm.policy import Texts
from klamp.lm.presets import USUAL, configure, refuse_idle
from klamp.lm.pretrained import Pretrained, load_pretrained
from klamp.lm.settings import Settings
from klamp.lm.sources import Sources
from klamp.lm.supervised import warm_started
from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tasks.task import Task, demonstrate
from klamp.lm.text_collection import TextCollector
from klamp.lm.text_game import TextGame
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


def start(config: Configuration, folder: Path, sources: Sources) -> Iteration:
    """The parts of a run, as they are at its start; its reference is the model it begins with.

    The supervised start of a built-in task is made once, and kept in the run's folder.
    """
    settings = config.settings
    collector: Collector
    if config.task in TASKS:
        task = TASKS[config.task]
        check_memory(config, task.decoder, *lengths(task))
        decoder = _kept(folder) or _begun(task, settings, folder)
        collector, texts = TaskCollector(task, settings), texts_of(task)
    else:
        # What is trained is trained in float32; a base that is frozen stays as it is.
        model = load_pretrained(config.task, None if settings.adapter_rank else "float32")
        collector = own_collector(config, model, sources)
        decoder, texts = model.decoder, own_texts(model, collector, settings)
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
    return Iteration(config, theta, whole, collector, texts)


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


def _begun(task: Task, settings: Settings, folder: Path) -> Decoder:
    """A new model after its supervised start, which is kept in the run's folder."""
    decoder = random_decoder(task.decoder, key(settings.seed, Purpose.INITIALISE))
    warm, steps = task.warm_start, settings.supervised_steps
    if warm is not None and steps != 0:
        warm = warm if steps is None else replace(warm, steps=steps)
        show = partial(demonstrate, task.environment, key(settings.seed, Purpose.CHECK))
        noise = key(settings.seed, Purpose.INITIALISE, 2)
        decoder, _ = warm_started(decoder, show, warm, noise)
    unfinished = folder / f".{BASE}"
    shutil.rmtree(unfinished, ignore_errors=True)
    texts_of(task).save(decoder, unfinished)
    unfinished.rename(folder / BASE)
    return decoder


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
