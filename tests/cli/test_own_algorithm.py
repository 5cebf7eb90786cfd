"""An algorithm of the user's own by its name: its options, its record, and how it goes on."""

import json
import sys
from pathlib import Path

import pytest

from klamp.cli.main import main

MINE = '''
from __future__ import annotations
from dataclasses import dataclass
import jax.numpy as jnp
import klamp

@dataclass(frozen=True)
class Still:
    """Learns nothing."""

    rate: float = 0.5
    """What it reports."""
    passes: int | None = None

    def init(self, model, theta):
        return jnp.zeros(())

    def update(self, context, theta, state, batch):
        outcome = jnp.asarray(int(klamp.Outcome.ACCEPTED))
        return klamp.Update(theta, state + 1, outcome, {"rate": jnp.asarray(self.rate)})

@dataclass(frozen=True)
class Needs:
    size: int
    init = Still.init
    update = Still.update

class Other:
    pass
'''
SMALL = ["--steps", "32", "--num-envs", "2", "--rollout-length", "16", "--hidden-sizes", "4"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's module lies in the working folder."""
    (tmp_path / "of_mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "of_mine", raising=False)


def test_it_is_trained_recorded_and_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["CartPole-v1", "--algo", "of_mine:Still", "--rate", "0.25", *SMALL]
    assert main(["train", *words, "--quiet"]) == 0
    run = Path("runs") / "CartPole-v1-Still-0"
    recorded = json.loads((run / "config.json").read_text())
    assert (recorded["algo"], recorded["rate"]) == ("of_mine:Still", 0.25)
    del sys.modules["of_mine"]
    assert main(["resume", str(run), "--steps", "64", "--quiet"]) == 0
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["rate"] for line in lines] == [0.25, 0.25]
    # What the file names is run where this user's klamp wrote it there, or where it is asked for.
    assert main(["train", "--config", str(run), "--dry-run"]) == 0
    settings = capsys.readouterr().out
    assert 'algo = "of_mine:Still"' in settings
    Path("mine.toml").write_text(settings)
    again = ["train", "--config", "mine.toml", "--dry-run"]
    del sys.modules["of_mine"]
    assert main(again) == 2
    assert "`--algo of_mine:Still`" in capsys.readouterr().err
    assert "of_mine" not in sys.modules
    assert main([*again, "--algo", "of_mine:Still"]) == 0


def test_its_fields_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--algo", "of_mine:Still", "--help"])
    said = capsys.readouterr().out
    assert "--rate FLOAT" in said
    assert "What it reports." in said
    assert main(["train", "CartPole-v1", "--algo", "of_mine:Still", "--rate", "much"]) == 2
    assert "`--rate` of `klamp train` is `much`, but must be a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("of_mine:Stil", "has no dataclass `Stil` with the methods `init` and `update`. Did you m"),
        ("of_mine:Other", "has no dataclass `Other`"),
        ("of_mine:Needs", "`size` of Needs has no default, so the class cannot be given by its"),
        ("of_nobody:Still", "needs the module `of_nobody`, which cannot be imported"),
    ],
)
def test_what_is_no_algorithm_is_said(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "CartPole-v1", "--algo", name]) == 2
    assert said in capsys.readouterr().err
