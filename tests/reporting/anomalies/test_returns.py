"""Episodes that do not end, rewards that say nothing, and returns that fall again."""

import pytest
from made_up_runs import UPDATES, names, of_ppo, of_trpo


@pytest.mark.parametrize("ended", [0, 30])
def test_episodes_that_do_not_end(ended: int) -> None:
    mean = None if ended == 0 else 20.0
    assert names(of_ppo(episodes=ended, return_mean=mean)) == ["no-episode-ended"]
    slow = [i // 15 for i in range(UPDATES)]
    assert names(of_ppo(episodes=slow)) == []


def test_the_same_return_of_every_episode() -> None:
    assert names(of_ppo(return_mean=-500.0)) == ["no-signal"]
    few = [min(i, 30) for i in range(UPDATES)]
    assert "no-signal" not in names(of_ppo(return_mean=-500.0, episodes=few))
    assert names(of_trpo(outcome="ZERO_GRADIENT", ratio_max=1.0))[0] == "no-signal"
    solved = [min(20.0 + 40 * i, 500.0) for i in range(UPDATES)]
    assert names(of_ppo(return_mean=solved)) == []


def test_what_was_gained_is_lost() -> None:
    def run(last: float) -> list[str]:
        rising = [20.0 + 10 * i for i in range(UPDATES - 5)]
        return names(of_ppo(return_mean=[*rising, *[last] * 5]))

    assert run(100.0) == ["return-fell"]
    assert run(250.0) == []
