"""The plan of a sweep: everything that its trials have in common, and the value of a trial."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from klamp.config.presets import configure
from klamp.config.run import RunConfig
from klamp.config.search_space import Choice, Interval, held
from klamp.errors import ConfigError, shown
from klamp.runs.metrics_log import Metrics

FIRST_SEED = 1000
"""The first seed of tuning. Results are reported with other seeds, which begin at 0."""

POINTS = 10
"""How often a run is compared with those of other trials, at equal parts of its steps."""

PRUNED = "pruned: below the median of the trials before it"
"""Why a run ended that was no better than the others."""


@dataclass(frozen=True)
class SweepPlan:
    """What all trials have in common."""

    env: str
    algo: str
    space: Mapping[str, Interval | Choice]
    """What is tried."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings that were given, over the preset's; what is tried is not among them."""
    seeds: tuple[int, ...] = (FIRST_SEED,)
    """The seeds that each trial is trained with, one after the other."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    wrappers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the names, and that no setting is both given and tried."""
        twice = sorted({"seed", *self.space} & set(self.settings))
        if twice:
            raise ConfigError(
                f"`{twice[0]}` is given as {shown(self.settings[twice[0]])}, but the sweep decides "
                "over it. Leave it out, or take it out of the `space`."
            )
        self.config({}, self.seeds[0])

    def config(self, tried: Mapping[str, Any], seed: int) -> RunConfig:
        """The run of a trial with one seed. Raises ``ConfigError`` where its settings clash."""
        return configure(
            self.env,
            self.algo,
            {**self.settings, **tried, "seed": seed},
            env_kwargs=self.env_kwargs,
            wrappers=self.wrappers,
        )

    def first(self) -> dict[str, Any]:
        """What the preset, and what was given, say of that which is tried: the first trial."""
        said = self.config({}, self.seeds[0]).to_dict()
        values = {name: held(said[name]) for name in self.space}
        return {name: value for name, value in values.items() if self.space[name].holds(value)}

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON holds it, to tell whether two sweeps are the same."""
        space = {name: {"kind": type(of).__name__, **vars(of)} for name, of in self.space.items()}
        data = {**vars(self), "space": space, "settings": dict(self.settings)}
        # The preset may change with klamp's version: what it was is part of the sweep.
        data["preset"] = self.config({}, self.seeds[0]).to_dict()
        return json.loads(json.dumps(data))


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """In what two sweeps differ, in words; None where they are the same."""
    for name in (*here, *there):
        before, now = there.get(name), here.get(name)
        if before != now:
            if isinstance(before, dict) and isinstance(now, dict):
                return difference(before, now)  # pyright: ignore[reportUnknownArgumentType]
            return f"`{name}` is {shown(before)} there and {shown(now)} here"
    return None


def objective(lines: Sequence[Metrics]) -> float | None:
    """How good a run was: its mean return over the last third of its updates.

    That of its evaluations (`eval_return_mean`), where it has any in that third, else that of its
    last 100 training episodes at each update (`return_mean`). None where no episode had ended.
    """
    last = lines[len(lines) - max(len(lines) // 3, 1) :]
    for name in ("eval_return_mean", "return_mean"):
        values = [line[name] for line in last if line.get(name) is not None]
        if values:
            return float(sum(values) / len(values))
    return None
