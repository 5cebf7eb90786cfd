import numpy as np
import pytest

from klamp.collection.episodes import WINDOW, add_rollout, no_episodes


def rollout(rng, steps, envs):
    reward = rng.normal(size=(steps, envs))
    return reward, rng.random((steps, envs)) < 0.2, np.ones((steps, envs), bool)


def finished_episodes(reward, ended, valid):
    """(return, length) of each finished episode, by their ends in time, then by environment."""
    done, running = [], [[] for _ in range(reward.shape[1])]
    for t in range(len(reward)):
        for i, episode in enumerate(running):
            if valid[t, i]:
                episode.append(reward[t, i])
            if ended[t, i]:
                done.append((sum(episode), len(episode)))
                episode.clear()
    return done


def test_before_an_episode_has_ended_there_is_no_mean():
    statistics = no_episodes(2)
    assert statistics.return_mean is None
    assert statistics.length_mean is None
    valid = np.ones((3, 2), bool)
    statistics = add_rollout(statistics, np.ones((3, 2)), ~valid, valid)
    assert statistics.return_mean is None
    assert statistics.finished == 0


def test_hand_computed():
    # Environment 0 ends after 2 steps, environment 1 after 3; what follows is still running.
    reward = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    ended = np.array([[False, False], [True, False], [False, True]])
    statistics = add_rollout(no_episodes(2), reward, ended, np.ones((3, 2), bool))
    assert statistics.finished == 2
    assert statistics.return_mean == pytest.approx((3 + 70) / 2)
    assert statistics.length_mean == pytest.approx(2.5)
    np.testing.assert_array_equal(statistics.running_return, [4, 0])
    np.testing.assert_array_equal(statistics.running_length, [1, 0])


@pytest.mark.parametrize("seed", range(5))
def test_means_are_over_the_last_hundred_finished_episodes(seed):
    rng = np.random.default_rng(seed)
    reward, ended, valid = rollout(rng, 90, 10)
    statistics = add_rollout(no_episodes(10), reward, ended, valid)
    done = finished_episodes(reward, ended, valid)
    assert len(done) > WINDOW
    assert statistics.finished == len(done)
    last = np.array(done[-WINDOW:])
    assert statistics.return_mean == pytest.approx(last[:, 0].mean())
    assert statistics.length_mean == pytest.approx(last[:, 1].mean())


def test_episodes_go_on_from_rollout_to_rollout():
    rng = np.random.default_rng(7)
    reward, ended, valid = rollout(rng, 60, 3)
    whole = add_rollout(no_episodes(3), reward, ended, valid)
    parts = no_episodes(3)
    for start in range(0, 60, 7):
        piece = slice(start, start + 7)
        parts = add_rollout(parts, reward[piece], ended[piece], valid[piece])
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def test_phantom_rows_count_neither_as_reward_nor_as_length():
    rng = np.random.default_rng(8)
    reward, ended, valid = rollout(rng, 40, 3)
    # The row after an end is the reset row of NEXT_STEP autoreset.
    valid[1:][ended[:-1]] = False
    ended &= valid
    expected = finished_episodes(reward, ended, valid)
    reward[~valid] = np.nan
    statistics = add_rollout(no_episodes(3), reward, ended, valid)
    assert statistics.finished == len(expected)
    assert statistics.return_mean == pytest.approx(np.mean([r for r, _ in expected]))
    assert statistics.length_mean == pytest.approx(np.mean([n for _, n in expected]))


def test_the_statistics_that_came_in_are_not_written_to():
    before = no_episodes(2)
    saved = [np.copy(leaf) for leaf in before]
    add_rollout(before, np.ones((3, 2)), np.ones((3, 2), bool), np.ones((3, 2), bool))
    for a, b in zip(before, saved, strict=True):
        np.testing.assert_array_equal(a, b)
