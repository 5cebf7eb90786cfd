"""What infos tell at the ends of episodes, averaged per update and listed by `episodes.csv`."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import Tells
from jax_environments import TellingWalk

import klamp
from klamp.config.presets import configure
from klamp.envs.source import resolve
from klamp.training.callbacks import Reporters, gather
from klamp.training.resume import resume_one
from klamp.training.train import train_one

SMALL: dict[str, Any] = {"num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,), "steps": 128}
PPO = klamp.PPO(epochs=1, minibatch_size=16)
LENT: dict[str, Any] = {}


def run(
    folder: Path, environment: Any, *report: Any, go_on: bool = False, overwrite: bool = False
) -> klamp.Result:
    source = resolve(environment)
    config = configure(source.name, PPO, SMALL | {"checkpoint_interval": 32})
    reporters = gather(report, quiet=True) if report else Reporters()
    more = {"reporters": reporters, "compiled_by": LENT.get(source.name), "environment": source}
    if go_on:
        return resume_one(config, folder, **more)[0]
    result, LENT[source.name] = train_one(config, out=folder, overwrite=overwrite, **more)
    return result


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("environment", [Tells, TellingWalk()], ids=["host", "device"])
def test_means_and_the_list_of_episodes_agree(tmp_path: Path, environment: Any) -> None:
    plain = run(tmp_path / "plain", environment)
    told = run(tmp_path / "told", environment, "episodes")
    np.testing.assert_array_equal(plain.policy.theta, told.policy.theta)
    rows = rows_of(told.folder)
    assert len(rows) == told.summary["episodes"] > 20
    returns = [float(row["return"]) for row in rows]
    assert told.summary["return_mean"] == pytest.approx(np.mean(returns[-100:]), rel=1e-5)
    for line in plain.metrics:
        ended = [row for row in rows if int(row["update"]) == line["update"]]
        lengths = [float(row["info_steps"]) for row in ended]
        assert lengths == [float(row["length"]) for row in ended]
        assert line["info_steps_mean"] == pytest.approx(np.mean(lengths))
        long = np.mean([length > 4 for length in lengths])
        assert line["info_is_long_mean"] == pytest.approx(long)
        assert not any("vector" in name or "name" in name for name in line)
        steps = [int(row["step"]) for row in ended]
        assert steps == sorted(steps)
        assert line["step"] - 32 < steps[0] <= steps[-1] <= line["step"]
    if environment is Tells:
        for row in rows:
            env = Tells()
            env.reset(seed=int(row["seed"]))
            assert env.length == float(row["length"])
            assert row["end"] == "truncated"
    else:
        assert {row["end"] for row in rows} == {"terminated", "truncated"}


def test_a_run_that_goes_on_lists_what_one_never_stopped_lists(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", Tells, "episodes")

    def stop(event: klamp.UpdateEvent) -> None:
        assert len(event.episodes) == event.metrics["episodes"] - len(seen)
        seen.extend(event.episodes)
        if event.metrics["update"] == 2:
            event.stop("enough")

    seen: list[Any] = []
    cut = run(tmp_path / "cut", Tells, "episodes", stop).folder
    # As if killed after lines that no checkpoint knows.
    last = sorted((cut / "checkpoints").iterdir())[-1]
    for path in last.iterdir():
        path.unlink()
    last.rmdir()
    resumed = run(cut, Tells, "episodes", go_on=True)
    assert rows_of(resumed.folder) == rows_of(whole.folder)
    times = ("time_s", "steps_per_second")
    for ours, theirs in zip(resumed.metrics, whole.metrics, strict=True):
        assert {k: ours[k] for k in ours if k not in times} == {
            k: theirs[k] for k in theirs if k not in times
        }


def test_a_new_run_takes_the_place_of_another_where_it_is_told_to(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", TellingWalk(), "episodes", "csv").folder
    with pytest.raises(klamp.RunFolderError, match="`overwrite=True`"):
        run(folder, Tells)
    assert (folder / "episodes.csv").exists()
    new = run(folder, Tells, overwrite=True)
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "config.json",
        "metrics.jsonl",
        "summary.json",
        "checkpoints",
    }
    assert klamp.load(folder, environment=Tells).config == new.policy.config


def test_an_update_in_which_no_episode_ended_tells_nothing(tmp_path: Path) -> None:
    class Endless(Tells):
        def reset(self, **given: Any) -> Any:
            first = super().reset(**given)
            self.length = 10**6
            return first

    result = run(tmp_path / "run", Endless, "episodes")
    assert not any(name.startswith("info_") for line in result.metrics for name in line)
    assert rows_of(result.folder) == []
