"""Random configurations of small runs on the judge's own environments, and how they are trained."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from case import Case, Difference, klamp, must_succeed

NAME = "judge_envs:judge/Drift-v0"
ALGORITHMS = ("reinforce", "a2c", "npg", "trpo", "ppo", "ppo-kl")
FEW: dict[str, Any] = {
    "discount": 0.95,
    "trace_decay": 0.9,
    "hidden_sizes": (5, 3),
    "activation": "tanh",
    "initial_log_std": -0.5,
    "epochs": 2,
    "learning_rate": 0.003,
    "max_kl": 0.01,
    "damping": 0.1,
    "cg_iterations": 5,
    "critic_epochs": 2,
}
"""What is compiled into a program, where another value would show nothing new."""
MODES = (None,) * 4 + ("next",) * 3 + ("same",) * 2 + ("disabled",) * 2
"""How the environments reset: one by one, or as a vector form does."""


@dataclass(frozen=True)
class Plan:
    """A run before it begins."""

    algo: str
    environment: dict[str, Any]
    options: dict[str, Any]
    updates: int

    @property
    def copies(self) -> int:
        """Environments side by side."""
        return self.options["num_envs"]

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return self.updates * self.copies * self.options["rollout_length"]

    def words(self, out: str) -> list[str]:
        """The command that trains it."""
        return ["train", NAME, "--algo", self.algo, "--out", out, *as_options(self.options)]

    def surroundings(self) -> dict[str, str]:
        """The variable that the environments read."""
        return {"JUDGE_ENV": json.dumps(self.environment)}

    def text(self) -> str:
        """The plan in short."""
        said = {k: v for k, v in self.options.items() if k not in ("steps", "checkpoint_interval")}
        kept = {k: v for k, v in self.environment.items() if k != "log"}
        return f"{self.algo} {kept} {said}"

    @contextmanager
    def named(self) -> Iterator[None]:
        """Whatever differs in the body says in which run."""
        try:
            yield
        except Difference as difference:
            raise Difference(f"{difference} (in {self.text()})") from None


def as_options(options: dict[str, Any]) -> list[str]:
    """Settings as the command line takes them."""
    words: list[str] = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, tuple):
            words += [f"--{option}", *map(str, value)]
        else:
            words += [f"--{option}", str(value)]
    return words


def draw(case: Case, *, vector: bool = True, few: bool = False) -> Plan:
    """A run of some updates: environment, algorithm, policy, settings.

    ``few``: of few sizes and constants, so that most cases find their programs compiled.
    """
    rng = case.rng
    algo = case.choose(ALGORITHMS)
    action = case.choose(("discrete", "box", "bounded", "multidiscrete", "multibinary"))
    mode = case.choose(MODES) if vector else None
    environment = {
        "action": action,
        "vector": mode,
        "limit": int(rng.integers(2, 40)),
        "danger": float(rng.uniform(0.3, 2)),
        "offset": float(case.choose((0, 0, 3, -5))),
        "scale": float(case.choose((1, 1, 0.1, 3))),
    }
    updates = int(rng.integers(2, 5))
    copies, length = (
        int(rng.integers(3, 6) if mode else rng.integers(1, 5)),
        int(rng.integers(8, 40)),
    )
    if few:
        copies, length = (3 if mode else 2), case.choose((10, 24))
    options: dict[str, Any] = {
        "steps": updates * copies * length,
        "seed": int(rng.integers(2**40)),
        "num_envs": copies,
        "rollout_length": length,
        "discount": float(round(rng.uniform(0.5, 1), 3)),
        "trace_decay": float(round(rng.uniform(0, 1), 3)),
        "normalize_observation": case.chance(0.5),
        "normalize_reward": case.chance(0.2),
        "hidden_sizes": case.choose(((4,), (5, 3), (6, 6))),
        "activation": case.choose(("tanh", "relu", "gelu", "silu", "elu")),
        "shared_network": case.chance(0.2),
        "checkpoint_interval": 1,
        "keep_checkpoint_every": 1,
        "vectorization": "auto" if mode else "sync",
    }
    if action in ("box", "bounded"):
        least = case.choose((-3, -3, -9))
        options["initial_log_std"] = float(round(rng.uniform(least, 0.3), 3))
    if action == "bounded":
        options["action_bounds"] = case.choose(("clip", "tanh", "beta"))
    if action in ("box", "bounded") and options.get("action_bounds") != "beta":
        options["action_scale"] = case.choose(("learned", "learned", "state"))
        options["mean_activation"] = case.choose(("none", "none", "tanh"))
    if options.get("action_bounds") == "beta":
        del options["initial_log_std"]
    if algo == "reinforce":
        del options["trace_decay"]  # it has no λ
    options |= of_algorithm(case, algo, copies * length)
    if few:
        options |= {name: value for name, value in FEW.items() if name in options}
        options |= {k: copies * length // 2 for k in options if k.endswith("minibatch_size")}
    return Plan(algo, environment, options, updates)


def of_algorithm(case: Case, algo: str, batch: int) -> dict[str, Any]:
    """Settings of the update itself."""
    rng = case.rng
    options: dict[str, Any] = {}
    if algo in ("ppo", "ppo-kl"):
        options["minibatch_size"] = int(rng.integers(2, batch + 1))
        options["epochs"] = int(rng.integers(1, 5))
        options["learning_rate"] = float(10 ** rng.uniform(-4, -1.5))
    if algo == "ppo" and case.chance(0.6):
        options["max_kl"] = float(10 ** rng.uniform(-5, -1))
    if algo in ("npg", "trpo"):
        options["max_kl"] = float(10 ** rng.uniform(-5, -1))
        options["damping"] = float(round(rng.uniform(0.001, 0.3), 4))
        options["cg_iterations"] = int(rng.integers(1, 15))
    if algo in ("npg", "trpo", "reinforce"):
        options["critic_minibatch_size"] = int(rng.integers(2, batch + 1))
        options["critic_epochs"] = int(rng.integers(1, 5))
    return options


def train(case: Case, plan: Plan, out: str = "run", log: str = "log") -> Path:
    """Train a plan by the command line, the environments' own log beside it."""
    (case.folder / log).mkdir()
    told = plan.environment | {"log": str(case.folder / log)}
    ended = klamp(case, *plan.words(out), limit_s=180, JUDGE_ENV=json.dumps(told))
    must_succeed(ended, "train")
    return case.folder / out


def train_here(case: Case, names: Any, plan: Plan, out: str, log: str = "", **more: Any) -> Path:
    """Train a plan by the façade in this process; ``more`` is given to ``klamp.train`` besides."""
    told = plan.environment
    if log:
        (case.folder / log).mkdir()
        told = told | {"log": str(case.folder / log)}
    os.environ["JUDGE_ENV"] = json.dumps(told)
    options = {"out": case.folder / out, "quiet": True} | plan.options | more
    names.train(NAME, plan.algo, **options)
    os.environ["JUDGE_ENV"] = json.dumps(plan.environment)
    return case.folder / out
