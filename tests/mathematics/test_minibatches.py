import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from klamp import Batch
from klamp.mathematics.minibatches import (
    every_kth,
    minibatch_rows,
    number_of_rows,
    permutations,
    take_rows,
)
from klamp.mathematics.weighting import weighted_mean

jitted_rows = jax.jit(minibatch_rows, static_argnums=(1, 2, 3))
jitted_permutations = jax.jit(permutations, static_argnums=(1, 2))
LARGE = 2**14 + 1
"""From here on the general path serves."""


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 1), (2, 1), (7, 3), (64, 64), (100, 64), (5, 1000), (96, 8)]
)
def test_each_epoch_visits_each_row_once_and_the_last_minibatch_is_filled_up(rows, size):
    chosen = np.asarray(jitted_rows(jax.random.key(0), 3, rows, size))
    size = min(size, rows)
    assert chosen.shape == (3, -(-rows // size), size)
    missing = -rows % size
    for epoch in chosen:
        flat = epoch.reshape(-1)
        np.testing.assert_array_equal(np.sort(flat), [-1] * missing + list(range(rows)))
        assert np.all(flat[len(flat) - missing :] == -1)


@pytest.mark.parametrize("rows", [2**14, LARGE, 50_000])
def test_large_batches_are_permuted_too(rows):
    orders = np.asarray(jitted_permutations(jax.random.key(0), 2, rows))
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(rows))
    assert np.mean(orders[0] == orders[1]) < 1e-3
    # Not nearly sorted either: the ranks are uncorrelated with the places.
    assert abs(np.corrcoef(orders[0], np.arange(rows))[0, 1]) < 4 / np.sqrt(rows)


def test_all_epochs_differ_and_all_keys_differ():
    orders = [np.asarray(jitted_permutations(jax.random.key(k), 10, 64)) for k in range(3)]
    assert len(np.unique(np.concatenate(orders), axis=0)) == 30


def test_an_order_is_a_function_of_its_key():
    first, second = (jitted_permutations(jax.random.key(5), 4, 64) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rows", [5, 64])
def test_every_row_comes_equally_often_at_every_place(rows):
    # A permutation that favoured low row numbers would train on them first in each epoch.
    count = 20_000
    orders = np.asarray(jitted_permutations(jax.random.key(1), count, rows))
    for place in (0, rows // 2, rows - 1):
        frequencies = np.bincount(orders[:, place], minlength=rows)
        assert scipy.stats.chisquare(frequencies).pvalue > 1e-4


def test_every_order_of_four_rows_is_equally_frequent():
    orders = np.asarray(jitted_permutations(jax.random.key(2), 48_000, 4))
    _, frequencies = np.unique(orders @ [64, 16, 4, 1], return_counts=True)
    assert len(frequencies) == 24
    assert scipy.stats.chisquare(frequencies).pvalue > 1e-4


def batch_of(rows, weight=None):
    number = jnp.arange(rows, dtype=jnp.float32)
    return Batch({"x": number[:, None]}, number.astype(int), number, None, weight)


def test_rows_are_taken_from_every_leaf_alike():
    part = take_rows(batch_of(6), jnp.array([4, 0, 2]), 6)
    np.testing.assert_array_equal(part.inputs["x"][:, 0], [4, 0, 2])
    np.testing.assert_array_equal(part.action, [4, 0, 2])
    np.testing.assert_array_equal(part.advantage, [4, 0, 2])
    assert part.weight is None
    assert part.old is None


@pytest.mark.parametrize("weighted", [False, True])
def test_filled_rows_get_weight_zero_and_real_rows_keep_theirs(weighted):
    weight = jnp.arange(1.0, 8.0) if weighted else None
    part = take_rows(batch_of(7, weight), jnp.array([6, -1, 1]), 7)
    np.testing.assert_array_equal(part.weight, [7, 0, 2] if weighted else [1, 0, 1])


def test_an_epoch_of_minibatches_sums_to_the_whole_batch():
    # 7 rows in minibatches of 3: with −1 taken for the last row, row 6 would count twice more.
    batch = batch_of(7, jnp.array([1.0, 0.0, 2.0, 1.0, 0.5, 1.0, 3.0]))

    @jax.jit
    def share(rows):
        part = take_rows(batch, rows, 7)
        return jnp.sum(part.weight), weighted_mean(part.advantage, part.weight)

    shares, means = zip(*map(share, minibatch_rows(jax.random.key(0), 1, 7, 3)[0]), strict=True)
    assert np.average(means, weights=shares) == pytest.approx(
        float(weighted_mean(batch.advantage, batch.weight))
    )


def test_number_of_rows():
    assert number_of_rows(batch_of(7)) == 7


def test_every_kth_takes_rows_or_whole_sequences():
    rows = jnp.arange(12)
    batch = Batch({"a": rows}, rows, rows * 1.0, rows, jnp.ones(12))
    assert every_kth(batch, 1) is batch
    np.testing.assert_array_equal(every_kth(batch, 5).action, [0, 5, 10])
    np.testing.assert_array_equal(every_kth(batch, 99).inputs["a"], [0])
    pairs = every_kth(batch, 4, sequence=2)
    np.testing.assert_array_equal(pairs.old, [0, 1, 8, 9])
    assert pairs.value_target is None


@pytest.mark.parametrize(("rows", "size", "sequence"), [(48, 12, 1), (48, 20, 1), (48, 16, 2)])
def test_minibatches_of_shards_are_unions_of_equal_shares(rows, size, sequence):
    shards, epochs = 4, 3
    table = minibatch_rows(jax.random.key(5), epochs, rows, size, sequence=sequence, shards=shards)
    own = rows // shards
    assert table.shape[:2] == (epochs, shards)
    assert table.shape[-1] == size // shards
    orders = np.asarray(table).reshape(epochs * shards, -1)
    for order in orders:
        assert sorted(order[order >= 0]) == list(range(own)), "each row once in each epoch"
    assert len({tuple(order) for order in orders}) == epochs * shards, "each in an order of its own"
    part = take_rows(batch_of(rows), table[0], rows, shards=shards)
    for numbers, weight, drawn in zip(
        part.action,
        np.ones(part.action.shape) if part.weight is None else part.weight,
        np.moveaxis(np.asarray(table[0]), 1, 0),
        strict=True,
    ):
        expected = (drawn + own * np.arange(shards)[:, None])[drawn >= 0]
        np.testing.assert_array_equal(np.asarray(numbers)[np.asarray(weight) > 0], expected)
