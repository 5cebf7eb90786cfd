"""What is told of a sweep: best, table, file, page."""

import tomllib

from sweeps import small_plan

from klamp.cli.config_file import ConfigFile
from klamp.config.presets import configure
from klamp.evaluation.comparison.page import About
from klamp.training.sweep.report import best_file, best_of, page, text
from klamp.training.sweep.study import Trial

PLAN = small_plan()
FIRST = PLAN.first()
TRIALS = [
    Trial(0, "complete", FIRST, 20.0, None, 0),
    Trial(1, "complete", {**FIRST, "learning_rate": 0.012}, 30.0, None, 1),
    Trial(2, "pruned", {**FIRST, "discount": 0.9}, 40.0, None, 0),
    Trial(3, "failed", {**FIRST, "discount": 0.9}, None, "<b>\x1b[2J", 0),
    Trial(4, "complete", {**FIRST, "discount": 0.9}, 30.0, None, 0),
    Trial(5, "running", {}, None, None, 0),
]
IMPORTANCES = {"learning_rate": 0.75, "discount": 0.25}
ABOUT = About("klamp sweep", "klamp sweep <x>", "now", "1")


def test_the_best_is_complete_and_the_first_of_equals() -> None:
    best = best_of(TRIALS)
    assert best is not None
    assert best.number == 1
    assert best_of(TRIALS[2:4]) is None


def test_the_best_file_is_a_config_file_with_a_seed_of_reporting() -> None:
    read = tomllib.loads(best_file(PLAN, TRIALS[1], 6))
    file = ConfigFile(data=read)
    settings = {name: value for name, value in file.data.items() if name not in ("env", "algo")}
    config = configure(read["env"], read["algo"], settings)
    assert config == PLAN.config(TRIALS[1].settings, 0)
    assert "seed" in read
    assert read["seed"] == 0


def test_the_table() -> None:
    said = text(PLAN, TRIALS, IMPORTANCES).splitlines()
    assert said[1].split() == ["1", "30.00", "complete", "learning_rate=0.012"]
    assert said[2].split() == ["4", "30.00", "complete", "discount=0.9"]
    assert said[3].split() == ["0", "(preset)", "20.00", "complete"]
    assert "What mattered most: learning_rate 75 %, discount 25 %" in said
    assert said[-1] == "Trial 3 failed: <b>\\x1b[2J"
    assert text(PLAN, TRIALS[:1], {}).splitlines()[1:] == said[3:4]


def test_the_page_is_one_file_without_what_a_trial_says() -> None:
    shown = page(ABOUT, PLAN, TRIALS, IMPORTANCES)
    assert shown.count("<svg class=") == 2
    assert "best so far" in shown
    assert "<b>" not in shown
    assert "http" not in shown.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert "learning_rate" in shown
    assert page(ABOUT, PLAN, [], {}).count("<svg") == 0
