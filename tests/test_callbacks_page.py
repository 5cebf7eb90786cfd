"""The examples of docs/callbacks.md run, each in a small run of its own."""

import re
from pathlib import Path
from typing import Any

import pytest

import klamp
from klamp.config.presets import configure
from klamp.training.callbacks import gather
from klamp.training.train import train_one

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```",
    (Path(__file__).parents[1] / "docs" / "callbacks.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
SMALL = {"steps": 96, "num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,)}
LENT: dict[str, Any] = {}
"""The run whose compiled programs all the others take."""


def train_a_little(env: str, *, report: Any = (), **settings: Any) -> klamp.Result:
    """``klamp.train``, but for few steps; what is asked for comes to pass within them."""
    asked = {"eval_interval": 32, "eval_episodes": 2, "stop_at_return": 1.0}
    wanted = {name: asked[name] for name in settings}
    config = configure(env, klamp.PPO(epochs=1, minibatch_size=32), SMALL | wanted)
    reporters = gather(report, quiet=True)
    result, LENT["run"] = train_one(
        config, out=Path("run"), reporters=reporters, compiled_by=LENT.get("run")
    )
    return result


@pytest.mark.usefixtures("quick_updates")
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(klamp, "train", train_a_little)
    source = EXAMPLES[number].replace("< 0.6", "< 0.7")
    names: dict[str, Any] = {}
    exec(compile(source, f"example {number}", "exec"), names)
    if "result" not in names:
        assert len(capsys.readouterr().out.splitlines()) == 3
        return
    summary = names["result"].summary
    if "enough" in names:
        assert summary["stopped"] == "the policy is sure of what it does"
    elif "keep" in names:
        assert names["keep"].step > 0
        assert isinstance(names["policy"], klamp.TrainedPolicy)
    elif "best" in names:
        assert summary["update"] == 1
        assert "has reached 1" in summary["stopped"]
    else:
        assert all(0 <= line["right"] <= 1 for line in names["result"].metrics)
        assert Path("run/metrics.csv").exists()


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5
