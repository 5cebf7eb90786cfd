"""Evaluation while training: repeatable, by seeds of its own, and the run is none the wiser."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from jax_environments import Walk

import klamp
from klamp.config.presets import configure
from klamp.envs.source import resolve
from klamp.evaluation import periodic
from klamp.evaluation.periodic import PeriodicEvaluation
from klamp.runs.checkpoint import checkpoints, verify
from klamp.runs.folder import read_config
from klamp.runtime.signals import StopAsked
from klamp.training import iteration
from klamp.training.callbacks import Reporters, gather
from klamp.training.recorder import RunRecorder
from klamp.training.resume import resume_one
from klamp.training.train import train_one

EVALUATED = ("eval_return_mean", "eval_return_std", "eval_length_mean")
TIMES = ("time_s", "steps_per_second")
PPO = klamp.PPO(epochs=1, minibatch_size=16)
SMALL = {"steps": 256, "rollout_length": 16, "hidden_sizes": (4,), "keep_checkpoint_every": 1}
LENT: dict[str, Any] = {}
"""Of each kind, the run whose compiled programs the others take."""
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "vector": ("CartPole-v1", {"num_envs": 4, "normalize_observation": True}),
    "copies": ("Pendulum-v1", {"num_envs": 2, "rollout_length": 64, "normalize_reward": True}),
    "recurrent": ("CartPole-v1", {"num_envs": 2, "recurrent_size": 3, "sequence_length": 8}),
    "device": (Walk(), {"num_envs": 2}),
}


def run(kind: str, folder: Path, *report: Any, **more: Any) -> klamp.Result:
    env, settings = KINDS[kind]
    config = configure(resolve(env).name, PPO, SMALL | settings | more)
    result, LENT[kind] = train_one(
        config,
        out=folder,
        reporters=gather(report, quiet=True),
        compiled_by=LENT.get(kind),
        environment=own(env),
    )
    return result


def resume(kind: str, folder: Path) -> klamp.Result:
    given = {"compiled_by": LENT[kind], "environment": own(KINDS[kind][0])}
    return resume_one(read_config(folder), folder, reporters=Reporters(), **given)[0]


def own(env: Any) -> Any:
    return None if isinstance(env, str) else resolve(env)


def lines(result: klamp.Result, *without: str) -> list[dict]:
    left_out = (*TIMES, *without)
    return [{k: line[k] for k in line if k not in left_out} for line in result.metrics]


def last_state(result: klamp.Result) -> bytes:
    """Parameters, moments, counters, and where the environments of the training stand."""
    path = checkpoints(result.folder / "checkpoints")[-1]
    return (path / "tensors.safetensors").read_bytes()


def stop_at_half(event: klamp.UpdateEvent) -> None:
    if event.step >= 128:
        event.stop("half")


@pytest.mark.parametrize(
    "kind",
    [
        "copies",
        *(pytest.param(k, marks=pytest.mark.compiles) for k in ("vector", "recurrent", "device")),
    ],
)
def test_the_run_does_not_know_that_it_is_evaluated_and_filmed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filmed: list[Path] = []

    def film(policy: Any, source: Any, path: Path, *, seed: int, episodes: int) -> None:
        filmed.append(path)
        policy.anew(seed).act(policy.observation_space.sample())
        np.random.seed(0)
        policy.theta = 0 * policy.theta

    monkeypatch.setattr(periodic, "film", film)
    monkeypatch.setattr("klamp.training.train.check_films", lambda *_: None, raising=False)
    bare = run(kind, tmp_path / "bare")
    evaluation: dict[str, Any] = {"eval_interval": 64, "eval_episodes": 3, "video_every": 2}
    whole = run(kind, tmp_path / "whole", **evaluation)
    assert last_state(whole) == last_state(bare)
    assert lines(whole, *EVALUATED) == lines(bare)
    evaluated = [line["step"] for line in whole.metrics if set(EVALUATED) <= set(line)]
    crossed, before = [], 0
    for line in whole.metrics:
        crossed += [line["step"]] if line["step"] // 64 > before // 64 else []
        before = line["step"]
    assert evaluated == crossed
    marks = [0, *(line["step"] for line in whole.metrics)]
    films = [b for a, b in itertools.pairwise(marks) if b // 128 > a // 128]
    assert [path.name for path in filmed] == [f"step_{step:012d}.mp4" for step in films]
    assert {path.parent for path in filmed} == {whole.folder / "videos"}
    assert whole.summary["eval_s"] > 0
    # An interrupted run evaluates to the same figures.
    half = run(kind, tmp_path / "half", stop_at_half, **evaluation)
    assert half.summary["step"] < whole.summary["step"]
    resumed = resume(kind, half.folder)
    assert last_state(resumed) == last_state(whole)
    assert lines(resumed) == lines(whole)
    assert resumed.summary["eval_s"] > half.summary["eval_s"]


def test_the_best_policy_is_kept_and_found(tmp_path: Path) -> None:
    """Scores are those of the evaluations, wherever these fall between the regular checkpoints."""
    settings = {"eval_interval": 64, "eval_episodes": 3, "keep_checkpoint_every": 0}
    result = run("copies", tmp_path / "run", steps=1024, checkpoint_interval=300, **settings)
    evaluated = {x["step"]: x["eval_return_mean"] for x in result.metrics if EVALUATED[0] in x}
    best = max(evaluated, key=lambda step: evaluated[step])
    known = {verify(path).step: verify(path) for path in checkpoints(result.folder / "checkpoints")}
    assert known[best].score == evaluated[best]
    assert {step: m.score for step, m in known.items() if m.score is not None} == {
        step: evaluated[step] for step in known if step in evaluated
    }
    assert not any(manifest.keep for manifest in known.values())
    named = klamp.load(result.folder, checkpoint="best")
    np.testing.assert_array_equal(named.theta, klamp.load(result.folder, checkpoint=best).theta)


def test_it_stops_at_the_return_that_was_asked_for(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"eval_interval": 32, "eval_episodes": 2, "stop_at_return": -1e6}
    result = run("copies", tmp_path / "run", steps=10_000, **settings)
    assert result.summary["update"] == 1
    mean = result.summary["eval_return_mean"]
    said = f"the mean return of the evaluation, {mean:.6g}, has reached -1e+06"
    assert result.summary["stopped"] == said
    # Without evaluations, 100 training episodes are waited for.
    trained = run("device", tmp_path / "trained", steps=100_000, stop_at_return=-1e6)
    ended = [line["episodes"] for line in trained.metrics]
    assert ended[-1] >= 100 > ended[-2]
    assert "last 100 training episodes" in trained.summary["stopped"]


class Open(gymnasium.Env):
    """Counts how many of it were made, and how many are open."""

    observation_space: ClassVar = spaces.Box(-1, 1, (2,), np.float32)
    action_space: ClassVar = spaces.Discrete(2)
    made = opened = 0

    def __init__(self) -> None:
        Open.made += 1
        Open.opened += 1

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        super().reset(seed=seed)
        self.left = 3
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> tuple:
        self.left -= 1
        seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return seen, float(seen[0]), self.left == 0, False, {}

    def close(self) -> None:
        Open.opened -= 1


def test_a_film_that_cannot_be_made_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def film(*parts: Any, **named: Any) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(periodic, "film", film)
    monkeypatch.setattr("klamp.training.train.check_films", lambda *_: None, raising=False)
    settings = {"eval_interval": 64, "eval_episodes": 1, "video_every": 1}
    with pytest.warns(
        klamp.KlampWarning, match=r"No film .* step 128\. RuntimeError: no display"
    ) as said:
        result = run("copies", tmp_path / "run", **settings)
    assert len(said) == 1
    assert result.summary["step"] >= 256


def test_a_plateau_ends_a_run_which_goes_on_with_what_it_knew(tmp_path: Path) -> None:
    settings = {"steps": 100_000, "eval_interval": 128, "eval_episodes": 1, "stop_on_plateau": 2}
    result = run("copies", tmp_path / "run", **settings)
    returns = [line["eval_return_mean"] for line in result.metrics]
    best = returns.index(max(returns))
    assert len(returns) == best + 3
    assert result.summary["stopped"] == (
        f"2 evaluations in a row had no mean return above {max(returns):.6g}, that of step "
        f"{128 * (best + 1)}"
    )
    again = resume("copies", result.folder)
    after = again.metrics[len(returns)]["eval_return_mean"]
    assert (len(again.metrics) == len(returns) + 1) == (after <= max(returns))


def test_its_environments_are_made_once_and_closed(tmp_path: Path) -> None:
    gymnasium.register("Open-v0", entry_point=Open)
    config = klamp.RunConfig(
        "Open-v0",
        klamp.PPO(epochs=1, minibatch_size=16),
        klamp.Settings(num_envs=2, rollout_length=8, hidden_sizes=(4,), eval_interval=16),
    )
    config = replace(config, settings=replace(config.settings, eval_episodes=18))
    run, state = iteration.start(config)
    made = Open.made
    evaluation, policy = PeriodicEvaluation(config), run.policy(state)
    first = evaluation(policy, lambda: None)
    took = evaluation.took_s
    assert [evaluation(policy, lambda: None) for _ in range(2)] == [first, first]
    assert evaluation.took_s > took > 0
    assert Open.made == made + 16
    other = PeriodicEvaluation(replace(config, settings=replace(config.settings, seed=1)))
    assert other(policy, lambda: None) != first
    other.close()

    def asked() -> None:
        raise StopAsked

    with pytest.raises(StopAsked):
        evaluation(policy, asked)
    evaluation.close()
    run.close()
    assert Open.opened == 0
    assert [evaluation.due(*steps) for steps in ((0, 15), (15, 16), (16, 31), (16, 48))] == [
        False,
        True,
        False,
        True,
    ]


def test_evaluating_does_not_slow_the_figure_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds of an iteration are taken before it is evaluated."""
    told: list[float] = []
    real = RunRecorder.record

    def record(self: Any, state: Any, reported: Any, seconds: float, *rest: Any) -> None:
        told.append(seconds)
        real(self, state, reported, seconds, *rest)

    monkeypatch.setattr(RunRecorder, "record", record)
    result = run("copies", tmp_path / "run", eval_interval=64, eval_episodes=2)
    for line, seconds in zip(result.metrics, told, strict=True):
        assert line["steps_per_second"] == pytest.approx(128 / seconds)
