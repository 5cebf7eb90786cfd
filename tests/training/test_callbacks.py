"""Reporters: what they see, what they may ask for, and that they change nothing that is trained."""

import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
from klamp.config.presets import configure
from klamp.reporting import logs
from klamp.reporting.panel import RunPanel
from klamp.runs.checkpoint import checkpoints, step_of, verify
from klamp.runs.folder import read_config, result_of
from klamp.training.callbacks import ELSEWHERE, Reporters, UpdateEvent, gather
from klamp.training.resume import resume_one
from klamp.training.train import train_one

PPO = klamp.PPO(epochs=1, minibatch_size=32)
SMALL: dict[str, Any] = {"num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,)}
CONFIG = configure("Pendulum-v1", PPO, SMALL)
LENT: dict[str, Any] = {}
"""The run whose compiled programs all the others take."""
TIMES = ("time_s", "steps_per_second")


def run(folder: Path, *report: Any, steps: int = 128, **settings: Any) -> klamp.Result:
    """Four updates, or as many as are asked for."""
    config = configure("Pendulum-v1", PPO, SMALL | {"steps": steps} | settings)
    reporters = gather(report, quiet=True)
    result, LENT["run"] = train_one(
        config, out=folder, reporters=reporters, compiled_by=LENT.get("run")
    )
    return result


def resume(folder: Path) -> klamp.Result:
    config = read_config(folder)
    return resume_one(config, folder, reporters=Reporters(), compiled_by=LENT["run"])[0]


def saved(folder: Path) -> dict[str, bytes]:
    """Every state that was saved."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "checkpoints").glob("*/*"))
        if path.name != "MANIFEST.json"
    }


def trained(result: klamp.Result, *logged: str) -> list[dict]:
    """The metrics without times, and without what was logged."""
    return [
        {name: line[name] for name in line if name not in (*TIMES, *logged)}
        for line in result.metrics
    ]


def never() -> Any:
    """No policy is made that nobody asks for."""
    raise AssertionError


class Everything:
    """A reporter with each method that there is."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, config: klamp.RunConfig, folder: Path) -> None:
        self.calls.append(("start", config.env, folder))

    def update(self, event: klamp.UpdateEvent) -> None:
        self.calls.append(("update", event.step, event.metrics["update"]))

    def finish(self, summary: dict[str, Any]) -> None:
        self.calls.append(("finish", summary["step"]))

    def close(self) -> None:
        self.calls.append(("close",))


def meddle(event: klamp.UpdateEvent) -> None:
    """Whatever somebody may try with what an event gives."""
    policy = event.policy
    policy.act(np.ones((5, 3), np.float32))
    if policy.scaling is not None:
        policy.scaling.shift[:] = 1e6
        policy.scaling.factor[:] = 0
    policy.theta = policy.theta * 0
    np.random.seed(0)
    with pytest.raises(TypeError):
        event.metrics["kl"] = 0.0  # pyright: ignore[reportIndexIssue]
    event.log(height=event.step / 2, **{"my/flag": True})


def test_a_run_with_callbacks_logs_and_a_panel_is_the_run_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Everything()
    bare = run(tmp_path / "bare")
    monkeypatch.setitem(logs.LOGS, "panel", lambda: RunPanel(io.StringIO()))
    extra = ["tensorboard"] if find_spec("tensorboardX") else []
    told = run(tmp_path / "told", everything, meddle, "csv", "episodes", "panel", *extra)
    assert trained(told, "height", "my/flag") == trained(bare)
    assert saved(told.folder) == saved(bare.folder)
    assert [line["height"] for line in told.metrics] == [16, 32, 48, 64]
    assert everything.calls == [
        ("start", "Pendulum-v1", told.folder),
        *(("update", 32 * n, n) for n in range(1, 5)),
        ("finish", 128),
        ("close",),
    ]
    # Logs come after callbacks, so they have the values of these, whatever the order in `report`.
    assert "height,my/flag" in (told.folder / "metrics.csv").read_text().splitlines()[0]
    assert told.summary["height"] == 64


def test_the_policy_of_an_event_is_that_of_its_update(tmp_path: Path) -> None:
    made: list[Any] = []
    result = run(tmp_path / "run", lambda event: made.append(event.policy))
    np.testing.assert_array_equal(made[-1].theta, result.policy.theta)
    assert not np.array_equal(made[0].theta, made[1].theta)


def test_a_callback_stops_the_run_which_can_be_gone_on_with(tmp_path: Path) -> None:
    def stop(event: klamp.UpdateEvent) -> None:
        if event.metrics["update"] == 2:
            event.stop("enough")

    whole = run(tmp_path / "whole")
    result = run(tmp_path / "run", stop)
    assert result.summary["stopped"] == "enough"
    assert result.summary["step"] == 64
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    # Many seeds do not train it again: it has come to its end.
    assert result_of(result.policy.config, result.folder) is not None
    resumed = resume(result.folder)
    assert "stopped" not in resumed.summary
    assert trained(resumed) == trained(whole)
    np.testing.assert_array_equal(resumed.policy.theta, whole.policy.theta)


def test_a_checkpoint_that_was_asked_for_stays(tmp_path: Path) -> None:
    def save(event: klamp.UpdateEvent) -> None:
        if event.metrics["update"] == 2:
            event.save()

    result = run(tmp_path / "run", save, steps=320, checkpoint_interval=32, keep_checkpoint_every=0)
    known = checkpoints(result.folder / "checkpoints")
    assert [step_of(path.name) for path in known if verify(path).keep] == [64]
    at = klamp.load(result.folder, checkpoint=64)
    assert not np.array_equal(at.theta, result.policy.theta)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kl": 1.0}, "'kl' cannot be logged: a metric of klamp's own"),
        ({"eval_return_mean": 1.0}, "cannot be logged"),
        ({"non_finite": 1.0}, "cannot be logged"),
        ({"height": [1.0, 2.0]}, r"'height' is \[1.0, 2.0\]. Expected one number"),
        ({"height": "tall"}, "Expected one number"),
        ({"x" * 81: 1.0}, "1 to 80 letters"),
        ({f"x{n}": 1.0 for n in range(201)}, "More than 200 values"),
    ],
)
def test_what_cannot_be_logged_is_refused(values: dict[str, Any], said: str) -> None:
    event = UpdateEvent({"step": 1, "kl": 0.1}, CONFIG, Path("run"), never)
    with pytest.raises(klamp.ConfigError, match=said):
        event.log(**values)


def test_names_that_lines_may_have_are_known(trained: klamp.Result) -> None:
    """Those of any run's summary are in its lines, or known beforehand."""
    assert {*trained.summary} <= {*trained.metrics[-1], *ELSEWHERE}
    event = UpdateEvent({"step": 1}, CONFIG, Path("run"), never)
    event.log(array=np.float32(1.5), whole=np.int64(2), flag=True)
    assert dict(event.metrics) == {"step": 1, "array": 1.5, "whole": 2, "flag": True}


class Fails:
    def update(self, event: klamp.UpdateEvent) -> None:
        if event.metrics["update"] == 2:
            raise ZeroDivisionError("nothing to divide by")


def test_an_exception_ends_the_run_after_saving(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(klamp.ReporterFault) as caught:
        run(tmp_path / "run", Fails())
    message = str(caught.value)
    for part in (
        "`Fails`",
        "ZeroDivisionError in `update`",
        "by.",
        "saved at step 64",
        "klamp.resume('",
    ):
        assert part in message
    assert "\n" not in message
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.__cause__.__traceback__ is not None
    assert caught.value.result.summary["step"] == 64
    resumed = resume(tmp_path / "run")
    assert trained(resumed) == trained(whole)
    assert (
        saved(resumed.folder)["checkpoints/step_000000000128/tensors.safetensors"]
        == (saved(whole.folder)["checkpoints/step_000000000128/tensors.safetensors"])
    )


class Breaks:
    """A log whose disk is full from the second update on."""

    def __init__(self) -> None:
        self.calls = 0

    def update(self, event: Any) -> None:
        self.calls += 1
        if self.calls == 2:
            raise OSError("No space left on device")


def test_a_log_that_fails_is_told_of_once_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = Breaks()
    monkeypatch.setitem(logs.LOGS, "breaks", lambda: breaks)
    with pytest.warns(klamp.KlampWarning) as said:
        result = run(tmp_path / "run", "breaks")
    assert [str(each.message) for each in said] == [
        "The reporter `Breaks` raised OSError in `update`: No space left on device. The run goes "
        "on without it; `metrics.jsonl` has every number."
    ]
    assert breaks.calls == 2
    assert result.summary["step"] == 128


def test_a_reporter_that_fails_when_it_is_closed_loses_nothing() -> None:
    def broken() -> None:
        raise OSError("gone")

    everything = Everything()
    everything.close = broken
    with pytest.warns(klamp.KlampWarning, match="`Everything` raised OSError in `close`"):
        Reporters([everything]).close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Everything, "the class Everything, not an object of it"),
        ([3], "`report` has 3"),
        (None, "`report` has None"),
        ("tensorbord", "There is no log `tensorbord`. Did you mean `tensorboard`"),
    ],
)
def test_what_is_no_reporter_is_refused_before_anything_is_made(
    given: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(klamp.ConfigError) as caught:
        klamp.train("CartPole-v1", report=given, out=tmp_path / "run")
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_one_reporter_needs_no_list() -> None:
    seen: list[Any] = []
    forms: list[Callable[[Any], Any] | Sequence[Callable[[Any], Any]]] = [
        seen.append,
        [seen.append],
    ]
    event: Any = object()
    for form in forms:
        gather(form, quiet=True).update(event, lambda _: None)
    assert seen == [event, event]
