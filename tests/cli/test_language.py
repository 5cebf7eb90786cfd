"""`klamp lm`: what it takes, and what it says."""

import json
from pathlib import Path

import pytest

from klamp.cli.main import main

QUICK = (
    "--prompts 4 --supervised-steps 0 --critic-warmup 0 --steps 24 --epochs 1 --minibatch-size 4"
)


@pytest.mark.compiles
def test_train_resume_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    words = f"lm train sort --max-kl 0.01 --quiet --out {out} {QUICK}".split()
    assert main(words) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["env"], config["algo"], config["max_kl"]) == ("lm:sort", "ppo", 0.01)
    assert main(["resume", out, "--steps", "48", "--quiet"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["step"] == 48
    assert 0 <= summary["accuracy_greedy"] <= 1
    capsys.readouterr()
    assert main(["lm", "generate", out, "--prompt", "314159>"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("314159>")
    assert len(line) == 13
    assert main(["eval", out, "--episodes", "8"]) == 0
    assert "over 8 completions" in capsys.readouterr().out
    assert main(["explain", out]) == 0
    assert "48 of 48 steps in 2 updates" in capsys.readouterr().out
    assert main(["explain", out, "--update", "2"]) == 0
    assert "The completions earned" in capsys.readouterr().out
    assert main(["compare", out, "--out", str(tmp_path / "page.html")]) == 0
    assert "lm:sort" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lm trian sort", "Did you mean `train`?"),
        ("lm train", "was given no TASK|MODEL"),
        ("lm train sort --algo rlooo", "Did you mean `rloo`?"),
        ("lm train sort --prompts few", "`--prompts` of `klamp lm train` is `few`"),
        ("lm train srot", "Did you mean `sort`?"),
        ("lm generate nowhere", "nowhere is no run's folder"),
    ],
)
def test_bad_input_is_said(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_help_lists_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lm", "train", "--help"])
    assert "dr-grpo" in capsys.readouterr().out
    assert main(["lm"]) == 0
    assert "klamp lm train sort" in capsys.readouterr().out
