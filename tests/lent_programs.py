"""What one run has compiled serves every later run of the same program in these tests.

Most runs of the tests differ in their seed, steps or folder alone, and most of their time would go
into tracing and lowering one program again. A run borrows where all that its program is made of is
the same: its algorithm, its settings but for those of the loop, its spaces, an environment that is
written in JAX, JAX's switches, and everything that the modules hold which programs are made of, so
that a function which a test has replaced is compiled.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, NamedTuple

import jax
import pytest

import klamp.lm.training.iteration as language
import klamp.training.iteration as loop
from klamp.config.algorithms import ALGORITHMS
from klamp.config.run import RunConfig
from klamp.config.settings import (
    CheckpointSettings,
    EvaluationSettings,
    NetworkSettings,
    Settings,
)
from klamp.envs.device.batched import BatchedEnvironment
from klamp.training import seeds_vmapped

OF_THE_LOOP = {
    item.name: item.default
    for item in fields(Settings)
    if item.name in ("seed", "steps", "schedule_steps", "vectorization", "step_limit_s")
    or item.name in CheckpointSettings.__dataclass_fields__
    or item.name in EvaluationSettings.__dataclass_fields__
}
"""Settings that no program is made of, since the loop reads them outside."""


class Lent(NamedTuple):
    """What was compiled, or made to be compiled, and what the modules held then."""

    held: dict[str, Any]
    programs: Any


def made_of(config: RunConfig, environments: Any) -> Any:
    """What tells one program from another; None where a run neither lends nor borrows."""
    settings = config.settings
    if type(config.algorithm) not in ALGORITHMS.values() or config.network is not None:
        return None
    # Of environments on the host the programs know the spaces, and whether actions are masked.
    where: Any = getattr(environments, "action_mask", None) is not None
    if isinstance(environments, BatchedEnvironment):
        inside = getattr(environments.environment, "__dict__", {})
        if not all(isinstance(value, int | float | str) for value in inside.values()):
            return None
        where = (type(environments.environment), repr(sorted(inside.items())))
    spaces = (repr(environments.observation_space), repr(environments.action_space))
    # Where fewer steps than a rollout are asked for, the settings would refuse the usual ones.
    usual = replace(settings, **OF_THE_LOOP | {"steps": max(settings.batch, 1)})
    return (config.algorithm, usual, where, spaces, *switches())


def drawn_from(config: RunConfig, environments: Any) -> Any:
    """What tells one program that draws networks from another; None where they are a user's own."""
    if config.network is not None:
        return None
    layers = tuple(getattr(config.settings, item.name) for item in fields(NetworkSettings))
    spaces = (repr(environments.policy_observation_space), repr(environments.action_space))
    return (layers, spaces, *switches())


def switches() -> tuple[Any, ...]:
    """What JAX is set to."""
    return jax.config.jax_enable_x64, jax.config.jax_default_device


MODULES = (
    *("klamp.types", "klamp.config", "klamp.runtime", "klamp.envs"),
    *("klamp.mathematics", "klamp.trust_region", "klamp.networks", "klamp.algorithms"),
    *("klamp.collection", "klamp.training.prepare", "klamp.training.learning"),
    *("klamp.training.iteration", "klamp.training.state", "klamp.lm"),
)
"""Where the functions are that programs are made of."""


def held_now() -> dict[str, Any]:
    """Everything that these modules and their classes hold, by name."""
    found: dict[str, Any] = {}
    for module, content in list(sys.modules.items()):
        if module.startswith(MODULES):
            for name, value in vars(content).items():
                found[f"{module}.{name}"] = value
                # The loop itself is no part of a program.
                if isinstance(value, type) and value.__module__ == module != loop.__name__:
                    inside = vars(value).items()
                    found |= {f"{module}.{name}.{part}": of for part, of in inside}
    return {name: value for name, value in found.items() if not name.endswith("__")}


class Lender:
    """Keeps what runs compiled, by what it is made of."""

    def __init__(self) -> None:
        self._kept: dict[Any, list[Lent]] = {}

    def lend(self, kind: str, made: Any) -> Any:
        """What an earlier run keeps of a kind; None where there is no such run."""
        now = held_now() if (kind, made) in self._kept else {}
        for held, programs in self._kept.get((kind, made), []) if made is not None else []:
            if all(now.get(name) is value for name, value in held.items()):
                return programs
        return None

    def forget(self) -> None:
        """Keep nothing of all runs so far."""
        self._kept.clear()

    def keep(self, kind: str, made: Any, programs: Any) -> None:
        """Keep what a run has compiled."""
        if made is not None:
            self._kept.setdefault((kind, made), []).append(Lent(held_now(), programs))


class LanguageUpdate:
    """An update of language models whose compiled programs are lent."""

    def __init__(self, lender: Lender, algorithm: Any, settings: Any) -> None:
        self._lender, self._learn = lender, make_alone(algorithm, settings)
        of_the_loop = {f.name: f.default for f in fields(settings) if f.name in OF_THE_LOOP}
        self._made = (algorithm, replace(settings, **of_the_loop))
        self._lowered: Any = None

    def lower(self, what: str, *arguments: Any) -> "LanguageUpdate":
        """Remember what is to be compiled."""
        self._lowered = (what, *arguments)
        return self

    def compile(self) -> Any:
        """The program for these arguments, or that of an earlier run."""
        what, *arguments = self._lowered
        kinds = map(jax.typeof, jax.tree.leaves(arguments))
        made = (*self._made, what, jax.tree.structure(arguments), *kinds)
        if (program := self._lender.lend("language", made)) is None:
            program = self._learn.lower(what, *arguments).compile()
            self._lender.keep("language", made, program)
        return program


make_alone = language.make_learn


@contextmanager
def lent_programs() -> Iterator[Lender]:
    """Within it, runs borrow what earlier ones have compiled."""
    lender, compile_alone, maker_alone = Lender(), loop.Iteration.compile, loop.network_maker
    together_alone = seeds_vmapped._compiled

    def compile_or_borrow(run: Any, state: Any) -> float:
        if run.config.settings.shards > 1:
            return compile_alone(run, state)
        host = hasattr(run.collector, "compiled")
        if host:
            # Masks are known after a reset.
            run.collector._begin(loop.behavior_policy(run.config, state))
        what = ("run", made_of(run.config, run.environments))
        if hasattr(run.learn, "lower") and (programs := lender.lend(*what)) is not None:
            run.learn, run.model, collects = programs
            if host:
                run.collector.compiled = run.collector._act, run.collector._noise = collects
            else:
                run.collector.begin, run.collector.program, run.collector._shapes = collects
            return compile_alone(run, state)
        alone = hasattr(run.learn, "lower")
        seconds = compile_alone(run, state)
        if alone:
            of = run.collector
            collects = of.compiled if host else (of.begin, of.program, of._shapes)
            lender.keep(*what, (run.learn, run.model, collects))
        return seconds

    def maker(config: RunConfig, environments: Any, network: Any) -> Callable[..., Any]:
        made = drawn_from(config, environments)
        if network is not None or (drawn := lender.lend("draw", made)) is None:
            drawn = maker_alone(config, environments, network)
            lender.keep("draw", made, drawn)
        return drawn

    def together(runs: list[Any], running: list[Any]) -> Any:
        what = (f"{len(runs)} runs", made_of(runs[0].config, runs[0].environments))
        if (programs := lender.lend(*what)) is None:
            programs = together_alone(runs, running)
            lender.keep(*what, programs)
        return programs

    def updates(algorithm: Any, settings: Any, *devices: int) -> Any:
        # What lies on devices of a mesh is neither lent nor borrowed.
        if devices:
            return make_alone(algorithm, settings, *devices)
        return LanguageUpdate(lender, algorithm, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeds_vmapped, "_compiled", together)
        patch.setattr(loop.Iteration, "compile", compile_or_borrow)
        patch.setattr(loop, "network_maker", maker)
        patch.setattr(language, "make_learn", updates)
        yield lender
