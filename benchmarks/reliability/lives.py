"""Runs that are killed, and what they are compared with: shared by the commands of this folder."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

TIMES = ("time_s", "steps_per_second")
"""The only fields of a line of metrics that may differ."""

SMALL: dict[str, Any] = {
    "num_envs": 3,
    "rollout_length": 32,
    "hidden_sizes": (8,),
}
FIT = {"critic_epochs": 2, "critic_minibatch_size": 32}
"""Where the critic is fitted by itself."""
PPO = {"epochs": 2, "minibatch_size": 32}


class Case(NamedTuple):
    """One configuration: an environment, an algorithm, and settings by name."""

    env: str
    algo: str
    settings: dict[str, Any]

    def train(self, steps: int, folder: Path) -> None:
        """From the beginning."""
        from klamp.training.callbacks import Reporters
        from klamp.training.train import train_config

        cases()  # registers the probes here, too
        train_config(configuration(self, steps), out=folder, reporters=Reporters())

    def go_on(self, folder: Path) -> None:
        """From what is there."""
        import klamp

        cases()
        klamp.resume(folder, quiet=True)


class Trained(Protocol):
    """What lives are led with."""

    def train(self, steps: int, folder: Path) -> None:
        """From the beginning."""

    def go_on(self, folder: Path) -> None:
        """From what is there."""


def cases() -> dict[str, Case]:
    """Algorithms, environments, normalisers, schedules, memories and β, each in several."""
    from environments import probe

    normal = {"normalize_observation": True, "normalize_reward": True}
    memory = {"recurrent_size": 4, "sequence_length": 8}
    return {
        "PPO, CartPole": Case("CartPole-v1", "ppo", PPO),
        "PPO, Pendulum, normalised": Case("Pendulum-v1", "ppo", PPO | normal),
        "TRPO, HalfCheetah, normalised": Case("HalfCheetah-v5", "trpo", normal),
        "TRPO, CartPole in copies, recurrent": Case(
            "CartPole-v1", "trpo", memory | {"vectorization": "sync"}
        ),
        "PPO, CartPole, recurrent": Case("CartPole-v1", "ppo", PPO | memory),
        "PPO with adaptive KL, Acrobot": Case("Acrobot-v1", "ppo-kl", PPO),
        "PPO, Pendulum, schedules, dropout": Case(
            "Pendulum-v1",
            "ppo",
            PPO | {"action_scale": "scheduled", "action_std_decay": 1e-5, "dropout": 0.1},
        ),
        "NPG, MountainCarContinuous": Case("MountainCarContinuous-v0", "npg", normal),
        "A2C, CartPole": Case("CartPole-v1", "a2c", {"normalize_reward": True}),
        "REINFORCE, CartPole": Case("CartPole-v1", "reinforce", {}),
        "TRPO, masks and Dict": Case(probe("dict", "multidiscrete", "info"), "trpo", normal),
        "TRPO, shared trunk": Case("Pendulum-v1", "trpo", {"shared_network": True}),
    }


class Kill(NamedTuple):
    """When a life ends: so many seconds after the loop began, or at the n-th call to the disk."""

    kind: str
    """``time``, ``disk`` or ``start``; ``none`` to live on."""
    amount: float = 0.0


def configuration(case: Case, steps: int) -> Any:
    """The case as a klamp configuration."""
    from klamp.config.presets import configure

    fit = FIT if case.algo in ("reinforce", "npg", "trpo") else {}
    settings = SMALL | fit | {"checkpoint_interval": 288} | case.settings
    return configure(case.env, case.algo, settings | {"steps": steps})


def die(number: int = signal.SIGKILL) -> None:
    """End this process at once."""
    os.kill(os.getpid(), number)


def arm(kill: Kill) -> None:
    """Arrange for the end."""
    if kill.kind == "start":
        timer(kill.amount, die)
    if kill.kind == "time":
        from klamp.runtime import signals

        enter = signals.Signals.__enter__

        def entered(self: Any) -> Any:
            timer(kill.amount, die)
            return enter(self)

        signals.Signals.__enter__ = entered
    if kill.kind == "disk":
        count_calls(int(kill.amount), die)


def timer(seconds: float, act: Callable[[], None]) -> None:
    """Act after some seconds, whatever the main thread does."""
    thread = threading.Timer(seconds, act)
    thread.daemon = True
    thread.start()


def count_calls(number: int, act: Callable[[], None]) -> None:
    """Act just before the n-th call that writes, syncs, renames or removes; and just after it."""
    left = [number]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                act()
            result = call(*args, **options)
            left[0] -= 1
            if left[0] == 0:
                act()
            return result

        return wrapped

    for name in ("fsync", "rename", "replace", "mkdir", "open", "rmdir", "unlink", "write", "link"):
        setattr(os, name, counted(getattr(os, name)))


def live(case: Trained, steps: int, folder: Path, kill: Kill) -> None:
    """Train, or go on with what is there, until done or killed. Runs in a process of its own."""
    with contextlib.redirect_stderr(open(os.devnull, "w")):
        arm(kill)
        import warnings

        import klamp

        warnings.simplefilter("error", klamp.KlampWarning)
        warnings.filterwarnings("ignore", ".*was stopped before its first step")
        if (folder / "config.json").exists():
            case.go_on(folder)
        else:
            case.train(steps, folder)


def processes(
    modules: Sequence[str] = ("klamp.training.train", "klamp.algorithms", "klamp.cli.main"),
) -> Any:
    """Processes that have imported everything, and started nothing, before they begin."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def one_life(context: Any, *parts: Any) -> int:
    """The exit code of one life: 0 done, −9 killed."""
    process = context.Process(target=live, args=parts)
    process.start()
    process.join()
    return process.exitcode


def contents(folder: Path) -> dict[str, Any]:
    """What a finished run left: every byte of its last checkpoint, its metrics and completions."""
    from klamp.runs.checkpoint import latest_checkpoint, load_checkpoint
    from klamp.runs.metrics_log import read_metrics

    tensors, state = load_checkpoint(latest_checkpoint(folder))
    lines = read_metrics(folder / "metrics.jsonl")
    written = folder / "completions.jsonl"
    return {
        "completions": written.read_text() if written.exists() else "",
        "tensors": {name: (t.dtype.str, t.shape, t.tobytes()) for name, t in tensors.items()},
        "state": state,
        "metrics": [json.dumps({k: v for k, v in m.items() if k not in TIMES}) for m in lines],
    }


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What differs between two finished runs, by name."""
    names = set(expected["tensors"]) | set(found["tensors"])
    wrong = [n for n in sorted(names) if expected["tensors"].get(n) != found["tensors"].get(n)]
    if expected["state"] != found["state"]:
        wrong.append("state.json")
    for name in ("metrics", "completions"):
        if expected[name] != found[name]:
            wrong.append(f"{name}.jsonl")
    return wrong


def readable(folder: Path) -> bool:
    """Whether what a kill left behind can be gone on with, or has not begun."""
    from klamp.errors import KlampError
    from klamp.runs.checkpoint import latest_checkpoint, verify

    if not (folder / "config.json").exists():
        return not (folder / "checkpoints").exists()
    try:
        verify(latest_checkpoint(folder))
    except KlampError:
        # The file is opened before the first checkpoint is written: empty, it tells of nothing.
        lines = folder / "metrics.jsonl"
        return not (lines.exists() and lines.stat().st_size)
    return True


def draw_kill(draw: random.Random, length_s: float) -> Kill:
    """Sixty in a hundred over the run, thirty in a save, ten at the start."""
    kind = draw.choices(("time", "disk", "start"), (60, 30, 10))[0]
    if kind == "disk":
        return Kill(kind, draw.randrange(1, 120))
    return Kill(kind, draw.uniform(0, length_s if kind == "time" else 2.0))


def clock() -> float:
    """Seconds."""
    return time.perf_counter()
