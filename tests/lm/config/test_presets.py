"""Presets by the names that people search for."""

import pytest

from klamp import PPO
from klamp.errors import ConfigError
from klamp.lm.config.presets import USUAL, configure, refuse_idle
from klamp.lm.tasks.builtin import TASKS


def test_every_built_in_task_has_its_usual_settings() -> None:
    assert USUAL.keys() == TASKS.keys()


def test_the_names_that_people_search_for() -> None:
    config = configure("sort", "gspo", {})
    assert (config.algorithm.ratio, config.settings.advantage) == ("sequence", "group")
    assert configure("sort", "cispo", {}).algorithm.objective == "cispo"
    dapo = configure("sort", "dapo", {"prompts": 4})
    assert (dapo.algorithm.clip_upper, dapo.settings.redraw_groups) == (0.28, 3)
    assert (dapo.settings.prompts, dapo.settings.completions) == (4, 32)
    assert configure("sort", "dr-grpo", {}).settings.aggregation == "constant"
    own = configure("sort", PPO(epochs=1), {"seed": 3}, {"steps": 7})
    assert (own.settings.steps, own.settings.seed, own.algorithm) == (7, 3, PPO(epochs=1))


def test_a_task_may_want_more_of_a_preset_and_what_is_given_stands_over_it() -> None:
    config = configure("memory", "grpo", {"prompts": 3}, USUAL["memory"])
    assert (config.settings.prompts, config.settings.generations) == (3, 8)
    assert (config.settings.steps, config.algorithm.max_kl) == (330_000, 0.03)
    assert configure("memory", "ppo", {}, USUAL["memory"]).settings.steps == 130_000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("rlooo", {}), "Did you mean `rloo`?"),
        (("ppo", {"promts": 3}), "Did you mean `prompts`?"),
        ((PPO(), {"clip": 3}), "There is no setting 'clip'"),
    ],
)
def test_names_that_are_none_are_said(given: tuple, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configure("sort", *given)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("algo", "given", "built_in", "said"),
    [
        ("ppo", {"max_turns": 3}, True, "the task `sort` has lengths of its own"),
        ("ppo", {"supervised_steps": 3}, False, "has no demonstrations"),
        ("grpo", {"trace_decay": 0.9}, True, "with the advantage 'group' there is no critic"),
        ("ppo", {"reference_kl": "loss"}, True, "there is no reference"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(
    algo: str, given: dict, built_in: bool, said: str
) -> None:
    config = configure("sort", algo, given)
    with pytest.raises(ConfigError, match="would do nothing") as raised:
        refuse_idle(config, given, built_in)
    assert said in str(raised.value)
    refuse_idle(config, {"seed": 1}, built_in)
