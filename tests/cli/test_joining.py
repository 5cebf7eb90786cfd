"""The options of several processes, and how they end together."""

import pytest

import klamp
from klamp.cli.joining import Joining, check_shards, run_together, several, with_shards
from klamp.errors import ConfigError
from klamp.lm.config.presets import configure
from klamp.runtime.joined import ALONE


def config(**settings: int) -> klamp.RunConfig:
    return klamp.RunConfig("CartPole-v1", klamp.TRPO(), klamp.Settings(**settings))


def test_most_runs_have_one_process() -> None:
    assert not several(Joining())
    assert several(Joining(distributed=True))
    assert several(Joining(coordinator="a:1", processes=2, process=0))


@pytest.mark.parametrize(
    ("given", "seeds", "said"),
    [
        (Joining(processes=2), 1, "`--processes` is 2, but there is no `--coordinator`"),
        (Joining(process=0), 1, "`--process` is 0"),
        (Joining(distributed=True), 3, "`--seeds` is 3"),
        (Joining(distributed=True, coordinator="a:1"), 1, "Give one of the two"),
    ],
)
def test_half_of_the_options_is_refused(given: Joining, seeds: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        several(given, seeds)


@pytest.mark.parametrize(
    ("num_envs", "processes", "shards"),
    [(8, 1, 4), (8, 2, 4), (8, 4, 4), (8, None, 4), (8, 8, 8), (6, 2, 2), (6, 3, 3), (5, 1, 1)],
)
def test_shards_do_not_depend_on_the_number_of_processes_where_possible(
    num_envs: int, processes: int, shards: int
) -> None:
    whole = config(num_envs=num_envs, critic_minibatch_size=48)
    assert with_shards(whole, processes).settings.shards == shards


def test_prompts_are_divided_as_environments_are() -> None:
    whole = configure("sort", "ppo", {"prompts": 12})
    assert with_shards(whole, 2, "prompts").settings.shards == 4
    with pytest.raises(ConfigError, match=r"`prompts` of Settings is 12, .* 5 processes"):
        with_shards(whole, 5, "prompts")


def test_environments_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`num_envs` of Settings is 8, .* 3 processes"):
        with_shards(config(num_envs=8), 3)
    with pytest.raises(ConfigError, match="cannot be divided among 3"):
        check_shards(config(num_envs=8, shards=4), 3)


def test_one_process_joins_nobody() -> None:
    led = []
    code = run_together(
        Joining(coordinator="a:1", processes=1, process=0),
        config(),
        {},
        None,
        lambda processes: led.append(processes) or 7,
        lambda processes: None,
    )
    assert code == 7
    assert led == [ALONE]
