import itertools

import jax
import numpy as np
import pytest

from klamp.runtime.seeding import EnvironmentSeeds, Purpose, environment_seed, key

SEEDS = [0, 1, 2, 3, 2**31, 2**32, 2**32 + 1, 2**40, 2**63 - 1]


def words(*arguments):
    return tuple(int(word) for word in jax.random.key_data(key(*arguments)))


def test_the_numbers_of_a_run_stay_what_they_are():
    # A run that is resumed by a later version must draw what this one draws.
    assert words(0, Purpose.INITIALISE) == (2968811710, 3677149159)
    assert words(3, Purpose.SHUFFLE, 7, 1) == (2145030367, 1785835242)
    assert words(2**40, Purpose.SHUFFLE, 7, 1) == (587498291, 3624782802)
    assert environment_seed(0, Purpose.EPISODE, 0, 0) == 1306511473
    assert environment_seed(3, Purpose.EPISODE, 1, 5) == 898417463
    names = ["INITIALISE", "ACT", "SHUFFLE", "EPISODE", "EVALUATE", "CHECK", "DROPOUT"]
    assert [Purpose[name] for name in names] == list(range(7))


def test_every_key_is_its_own():
    # Seeds above 2³² take two words; they must not be read as a smaller seed and a purpose.
    arguments = list(itertools.product(SEEDS, Purpose, [0, 1, 2, 10_000], [0, 1, 7]))
    assert len({words(*each) for each in arguments}) == len(arguments)


def test_every_episode_of_every_environment_has_its_own_seed():
    arguments = list(itertools.product([0, 1, 2**33], [Purpose.EPISODE], range(16), range(40)))
    seeds = [environment_seed(*each) for each in arguments]
    assert len(set(seeds)) == len(seeds)
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)


def test_seeds_look_random_in_every_bit():
    seeds = np.array([environment_seed(0, Purpose.EPISODE, 0, i) for i in range(4000)])
    share = (seeds[:, None] >> np.arange(31) & 1).mean(0)
    np.testing.assert_allclose(share, 0.5, atol=4 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_key_is_a_function_of_its_arguments_alone(seed):
    before = words(seed, Purpose.ACT, 3, 4)
    np.random.seed(1)
    words(seed, Purpose.ACT, 2, 4)
    assert words(seed, Purpose.ACT, 3, 4) == before


def test_the_default_of_jaxs_random_numbers_does_not_matter():
    expected = jax.random.uniform(key(0, Purpose.ACT))
    with jax.default_prng_impl("rbg"):
        assert jax.random.uniform(key(0, Purpose.ACT)) == expected


def test_rows_of_a_process_have_the_seeds_they_have_among_all():
    whole, later = EnvironmentSeeds(3, Purpose.EPISODE), EnvironmentSeeds(3, Purpose.EPISODE, 4)
    assert [later.of_episode(row, 2) for row in range(4)] == [
        whole.of_episode(row, 2) for row in range(4, 8)
    ]
    assert whole.of_episode(1, 5) == environment_seed(3, Purpose.EPISODE, 1, 5)
    # What rows share is drawn by each process for itself.
    steps = [seeds.words_of_steps(n) for seeds in (whole, later) for n in range(9)]
    resets = [jax.random.key_data(seeds.of_reset(n)) for seeds in (whole, later) for n in range(9)]
    assert len({tuple(map(int, each)) for each in steps + resets}) == 36
    assert whole.generator(1).random() != later.generator(1).random()
    assert whole.generator(1).random() == whole.generator(1).random()
