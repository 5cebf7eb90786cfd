"""Played sequences as transitions: each quantity against loops over the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.networks.decoder import at_columns
from klamp.lm.tokens.sequences import (
    Completions,
    Record,
    completions_of,
    limited,
    read_columns,
    transitions,
)
from klamp.mathematics.advantages import gae

S, L, A = 6, 14, 9
gathered = jax.jit(completions_of, static_argnums=4)
estimate = jax.jit(lambda *steps: gae(*steps, discount=0.97, trace_decay=0.9))


@pytest.fixture(scope="module")
def played() -> tuple[Record, np.ndarray]:
    """Two turns of each row, with holes anywhere and NaN in them; row 5 samples nothing."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 9, (S, L))
    valid = rng.random((S, L)) < 0.8
    valid[:, 0] = True
    turn = np.zeros((S, L), int)
    turn[:, 3:6], turn[:, 9:12] = 1, 2
    turn = np.where(valid, turn, 0)
    turn[5] = 0
    reward = np.where(valid, rng.normal(size=(S, L)), np.nan)
    reward[:, :3] = np.where(valid[:, :3], 0, np.nan)
    parts = (tokens, valid, turn, reward.astype(np.float32))
    return Record(*(jnp.asarray(part) for part in parts)), rng.random(S) < 0.5


def completed(record: Record, ended: np.ndarray) -> Completions:
    rows = jnp.arange(S)
    return gathered(record, jnp.asarray(ended), jnp.asarray(~ended), rows, A)


def test_actions_are_the_tokens_recorded_as_sampled(played) -> None:
    record, ended = jax.device_get(played)
    found = jax.device_get(completed(record, ended))
    for s in range(S):
        columns = [c for c in range(L) if record.valid[s, c]]
        sampled = [c for c in columns if record.turn[s, c] > 0]
        n = len(sampled)
        assert (
            found.tokens[s, : len(columns)].tolist() == record.tokens[s][np.array(columns)].tolist()
        )
        assert found.valid[s].tolist() == [True] * len(columns) + [False] * (L - len(columns))
        assert found.weight[s].tolist() == [1] * n + [0] * (A - n)
        for a, column in enumerate(sampled):
            assert found.action[s, a] == record.tokens[s, column]
            assert found.turn[s, a] == record.turn[s, column]
            assert found.positions[s, a] == columns.index(column) - 1
            last = a == n - 1
            assert found.terminated[s, a] == (last and ended[s])
            assert found.truncated[s, a] == (last and not ended[s])
            until = sampled[a + 1] if not last else L
            earned = [record.reward[s, c] for c in columns if column <= c < until]
            np.testing.assert_allclose(found.reward[s, a], np.sum(earned), rtol=1e-6)
        for part in (found.action, found.turn, found.reward, found.terminated, found.truncated):
            assert not np.any(part[s, n:])


def test_holes_and_what_stands_in_them_change_nothing(played) -> None:
    record, ended = played
    garbage = Record(
        jnp.where(record.valid, record.tokens, 77),
        record.valid,
        jnp.where(record.valid, record.turn, 5),
        jnp.where(record.valid, record.reward, jnp.inf),
    )
    wider = jax.tree.map(lambda part: jnp.pad(part, ((0, 0), (4, 2))), garbage)
    first, second = completed(record, ended), completed(garbage, ended)
    third = completed(wider, ended).cut(L, A)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    jax.tree.map(np.testing.assert_array_equal, first, third)


def test_advantages_are_bit_for_bit_those_of_control_episodes(played) -> None:
    record, ended = played
    rng = np.random.default_rng(4)
    found = jax.device_get(completed(record, ended))
    value = np.where(found.weight > 0, rng.normal(size=(S, A)), np.nan).astype(np.float32)
    final = np.where(ended, np.nan, rng.normal(size=S)).astype(np.float32)
    got = np.asarray(estimate(*transitions(found, value, final))).T
    for s in range(S - 1):
        n = int(found.weight[s].sum())
        end = np.arange(n) == n - 1
        ahead = np.append(value[s, 1:n], final[s])
        episode = (found.reward[s, :n], value[s, :n], ahead, end & ended[s], end & ~ended[s])
        columns = [np.asarray(part)[:, None] for part in episode]
        np.testing.assert_array_equal(got[s, :n], np.asarray(estimate(*columns))[:, 0])
    assert not np.any(np.where(found.weight > 0, 0, got))


def test_a_length_limit_means_what_is_asked(played) -> None:
    record, ended = played
    found = completed(record, ended)
    assert limited(found, "bootstrap") is found
    over = limited(found, "end")
    np.testing.assert_array_equal(over.terminated, found.last_action())
    assert not np.any(over.truncated)
    masked = limited(found, "mask")
    np.testing.assert_array_equal(masked.weight, found.weight * ended[:, None])


def test_rewards_of_a_sequence_and_of_turns_reach_their_last_actions(played) -> None:
    record, ended = played
    bare = completed(record._replace(reward=jnp.zeros((S, L))), ended)
    whole = bare.with_reward(jnp.arange(1.0, S + 1)).reward
    np.testing.assert_array_equal(whole, bare.last_action() * np.arange(1, S + 1)[:, None])
    by_turn = jnp.asarray(np.random.default_rng(5).normal(size=(S, 2)))
    placed = np.asarray(bare.with_reward(by_turn).reward)
    for s in range(S):
        turns = bare.turn[s].tolist()
        for t in (1, 2):
            if t in turns:
                last = A - 1 - turns[::-1].index(t)
                np.testing.assert_allclose(placed[s, last], by_turn[s, t - 1])
        assert np.count_nonzero(placed[s]) == len(set(turns) - {0})
    # Fewer rewards than turns: the turns without one get none.
    np.testing.assert_array_equal(
        bare.with_reward(by_turn[:, :1]).reward, jnp.where(bare.turn == 1, placed, 0)
    )


def test_features_are_those_before_each_action_and_at_the_end(played) -> None:
    found = completed(*played)
    features = np.random.default_rng(6).normal(size=(S, L, 3)).astype(np.float32)
    read = at_columns(jnp.asarray(features), read_columns(found.valid, found.positions))
    assert read.shape == (S, A + 1, 3)
    kept = jax.device_get(found.with_features(read))
    found = jax.device_get(found)
    for s in range(S):
        for a in range(int(found.weight[s].sum())):
            np.testing.assert_array_equal(kept.features[s, a], features[s, found.positions[s, a]])
        np.testing.assert_array_equal(kept.final_features[s], features[s, found.valid[s].sum() - 1])
