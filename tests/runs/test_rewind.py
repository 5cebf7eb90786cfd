"""A folder that ends at a checkpoint: what came later is kept, and a kill loses nothing."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
from klamp.config.algorithms import TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.runs.checkpoint import checkpoints, step_of
from klamp.runs.checkpoint_write import save_checkpoint
from klamp.runs.folder import read_config, write_config
from klamp.runs.metrics_log import read_metrics
from klamp.runs.rewind import aside_of, begin_line

CONFIG = RunConfig("CartPole-v1", TRPO(), Settings(seed=5))
STEPS = (0, 10, 20, 30)
NEW = replace(CONFIG, settings=replace(CONFIG.settings, steps=200_000))


def a_run(folder: Path) -> Path:
    """A finished run of three updates of ten steps each, saved after each."""
    folder.mkdir()
    write_config(folder, CONFIG)
    lines = [json.dumps({"update": n, "step": 10 * n}) + "\n" for n in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    (folder / "summary.json").write_text('{"step": 30}')
    for step in STEPS:
        save_checkpoint(folder / "checkpoints", step, {"step": np.asarray(step)}, {}, keep=True)
    return folder


def steps_in(folder: Path) -> list[int]:
    return [step_of(path.name) for path in checkpoints(folder / "checkpoints")]


def test_what_came_after_a_checkpoint_is_set_aside_whole(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    before = (run / "metrics.jsonl").read_bytes()
    aside = aside_of(run)
    with pytest.warns(klamp.KlampWarning, match=r"from step 10\. .* \(step 20, 30\).*set-aside-1"):
        begin_line(run, 10, 1, NEW, aside)
    assert steps_in(run) == [0, 10]
    assert [line["update"] for line in read_metrics(run / "metrics.jsonl")] == [1]
    assert not (run / "summary.json").exists()
    assert read_config(run) == NEW
    # What was set aside is the old run's folder, as far as it came later.
    assert steps_in(aside) == [20, 30]
    assert (aside / "metrics.jsonl").read_bytes() == before
    assert read_config(aside) == CONFIG
    assert json.loads((aside / "summary.json").read_text()) == {"step": 30}
    # What is written from now on does not reach it.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 2}\n')
    assert (aside / "metrics.jsonl").read_bytes() == before
    assert aside_of(run) == run / "set-aside-2"


def test_where_nothing_came_later_nothing_is_set_aside(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 4}\n')
    begin_line(run, 30, 3, CONFIG, aside_of(run))
    assert steps_in(run) == list(STEPS)
    assert [line["update"] for line in read_metrics(run / "metrics.jsonl")] == [1, 2, 3]
    assert (run / "summary.json").exists()
    assert aside_of(run) == run / "set-aside-1"


class Killed(BaseException):
    """Stands for SIGKILL."""


def killed_at(moment: int, patch: pytest.MonkeyPatch) -> None:
    """Before and after each call that writes, links, renames or syncs, in turn."""
    left = [moment]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def counted(call: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            step()
            result = call(*args, **options)
            step()
            return result

        return wrapped

    for name in ("open", "fsync", "rename", "replace", "mkdir", "unlink", "link"):
        patch.setattr(os, name, counted(getattr(os, name)))


@pytest.mark.filterwarnings("ignore::klamp.KlampWarning")
def test_killed_at_any_call_the_folder_holds_one_line(tmp_path: Path) -> None:
    """The old one, whole or ended earlier, with all lines that its checkpoints know; or the new."""
    killed, moment, seen = True, 0, set[int]()
    while killed:
        moment += 1
        run = a_run(tmp_path / str(moment))
        with pytest.MonkeyPatch.context() as patch:
            killed_at(moment, patch)
            try:
                begin_line(run, 10, 1, NEW, aside_of(run))
                killed = False
            except Killed:
                pass
        steps = steps_in(run)
        seen.add(steps[-1])
        assert steps == list(STEPS[: len(steps)])
        assert len(steps) >= 2
        lines = [line["update"] for line in read_metrics(run / "metrics.jsonl")]
        assert lines == [1, 2, 3][: len(lines)]
        assert len(lines) >= steps[-1] // 10
        if steps[-1] > 10:
            assert read_config(run) == CONFIG
        kept = steps + [step for aside in run.glob("set-aside-*") for step in steps_in(aside)]
        assert sorted(kept) == list(STEPS)
        # The same command again.
        begin_line(run, 10, 1, NEW, aside_of(run))
        assert steps_in(run) == [0, 10]
        assert [line["update"] for line in read_metrics(run / "metrics.jsonl")] == [1]
        assert read_config(run) == NEW
    assert moment > 30
    assert seen == {10, 20, 30}
