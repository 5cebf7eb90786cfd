"""Writing with a cache against the definition: the whole sequence again for every token."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.errors import ConfigError
from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.networks.generation import (
    Sampling,
    TurnLimits,
    begin,
    bucket,
    earned,
    generate,
    hear,
    padded,
    speak,
)
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tokens.sequences import completions_of

V, STOP = 9, 4
LIMITS = TurnLimits(new_tokens=5, stop=(STOP,))
PROMPTS = [[1, 2, 3], [5], [6, 7], [8, 1, 2, 3]]
KEY = jax.random.key(11)
logits_of = eqx.filter_jit(lambda decoder, tokens: decoder.logits(tokens))


@pytest.fixture(scope="module")
def decoder():
    sizes = {"width": 16, "layers": 2, "heads": 2, "key_value_heads": 1, "head_width": 8}
    made = random_decoder(DecoderConfig(vocabulary=V, mlp_width=16, **sizes), jax.random.key(0))
    return jax.tree.map(lambda leaf: 3 * leaf if leaf.ndim > 1 else leaf, made)


SAMPLED = Sampling(temperature=0.7)


def written(decoder, prompts, rows, width=4, sampling=SAMPLED) -> list[list[int]]:
    """The sampled tokens of each row, by its definition of a record."""
    tokens, valid = padded(prompts, width)
    record, cut = generate(decoder, tokens, valid, KEY, jnp.asarray(rows), LIMITS, sampling)
    said = [np.asarray(record.tokens[s])[np.asarray(record.turn[s]) > 0] for s in range(len(rows))]
    assert all(len(row) == 5 for row, over in zip(said, cut, strict=True) if over)
    assert all(row[-1] == STOP for row, over in zip(said, cut, strict=True) if not over)
    return [row.tolist() for row in said]


def by_hand(decoder, prompt: list[int], row: int, temperature: float | None) -> list[int]:
    """Token for token, from the logits of the whole sequence."""
    said: list[int] = []
    while len(said) < 5 and STOP not in said:
        tokens = np.zeros((1, 9), int)
        tokens[0, : len(prompt + said)] = prompt + said
        logits = np.asarray(logits_of(decoder, tokens))[0, len(prompt + said) - 1]
        if temperature is not None:
            key = jax.random.fold_in(jax.random.fold_in(KEY, row), len(said))
            logits = logits / temperature + np.asarray(jax.random.gumbel(key, (V,)))
        said.append(int(np.argmax(logits)))
    return said


@pytest.mark.parametrize("temperature", [None, SAMPLED.temperature])
def test_tokens_are_those_of_the_whole_sequence_again(decoder, temperature) -> None:
    sampling = Sampling(greedy=True) if temperature is None else SAMPLED
    got = written(decoder, PROMPTS, range(4), sampling=sampling)
    assert got == [by_hand(decoder, p, s, temperature) for s, p in enumerate(PROMPTS)]


def test_a_row_does_not_depend_on_its_neighbours(decoder) -> None:
    alone = [written(decoder, [p], [s], width=6)[0] for s, p in enumerate(PROMPTS)]
    assert written(decoder, PROMPTS, range(4)) == alone
    both = PROMPTS[::-1] * 2 + [PROMPTS[0]] * 40
    many = written(decoder, both, [3, 2, 1, 0] * 2 + [*range(40)])
    assert many[:8] == alone[::-1] * 2
    assert len({tuple(row) for row in many[8:]}) > 20


@pytest.mark.compiles
def test_a_second_turn_goes_on_where_the_first_ended(decoder) -> None:
    """Observations of unlike lengths between turns; a row that is over says nothing more."""
    tokens, valid = padded(PROMPTS, 4)
    rows, sampling, all_four = jnp.arange(4), Sampling(), jnp.ones(4, bool)
    heard = [[1], [2, 3], [], [4, 4, 4]]
    active = jnp.asarray([True, True, False, True])
    writing = eqx.filter_jit(begin)(decoder, tokens, valid, 4 + 5 + 3 + 5)
    turn = eqx.filter_jit(speak)
    writing, _ = turn(decoder, writing, all_four, jnp.asarray(1), KEY, rows, LIMITS, sampling)
    writing = earned(writing, jnp.asarray([1.0, 2.0, 3.0, 4.0]))
    first = np.asarray(writing.record.turn)
    writing = eqx.filter_jit(hear)(decoder, writing, *padded(heard, 3))
    writing, _ = turn(decoder, writing, active, jnp.asarray(2), KEY, rows, LIMITS, sampling)
    record = writing.record
    found = completions_of(record, all_four, ~all_four, rows, 10)
    for s, prompt in enumerate(PROMPTS):
        one = np.asarray(record.tokens[s])[first[s] == 1].tolist()
        two = np.asarray(record.tokens[s])[np.asarray(record.turn[s]) == 2].tolist()
        context = prompt + one + heard[s]
        assert np.asarray(found.tokens[s])[np.asarray(found.valid[s])].tolist() == context + two
        assert float(found.reward[s, len(one) - 1]) == s + 1
        if s == 2:
            assert two == []
            continue
        # The second turn's tokens have the largest noisy logits, given all that came before.
        logits = np.asarray(logits_of(decoder, np.asarray(found.tokens)[s : s + 1]))[0]
        for a, token in enumerate(two):
            key = jax.random.fold_in(jax.random.fold_in(KEY, s), len(one) + a)
            noisy = logits[len(context) + a - 1] + np.asarray(jax.random.gumbel(key, (V,)))
            assert token == int(np.argmax(noisy))
            sampled = jax.nn.log_softmax(logits[len(context) + a - 1])[token]
            np.testing.assert_allclose(found.log_prob[s, len(one) + a], sampled, atol=1e-5)


def test_top_k_and_top_p_keep_the_most_probable() -> None:
    p = np.array([0.05, 0.5, 0.15, 0.3])
    logits = jnp.tile(jnp.log(p), (400, 1))
    keys = jax.random.split(KEY, 400)

    def chosen(sampling: Sampling) -> set[int]:
        return set(np.asarray(sampling.choose(logits, keys)[0]).tolist())

    assert chosen(Sampling()) == {0, 1, 2, 3}
    assert chosen(Sampling(top_k=2)) == {1, 3} == chosen(Sampling(top_p=0.6))
    assert chosen(Sampling(top_p=0.9)) == {1, 2, 3}
    assert chosen(Sampling(top_p=0.2)) == {1} == chosen(Sampling(greedy=True))
    token, log_prob = Sampling(temperature=0.5).choose(logits, keys)
    counts, expected = np.bincount(token, minlength=4), p**2 / np.sum(p**2)
    np.testing.assert_allclose(log_prob, np.log(expected)[token], rtol=1e-5)
    token, log_prob = Sampling(top_k=2).choose(logits, keys)
    np.testing.assert_allclose(log_prob, np.log(p / 0.8)[token], rtol=1e-4)
    assert np.all(np.abs(counts / 400 - expected) < 4 * np.sqrt(expected / 400))


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 1.5}])
def test_settings_out_of_range_are_named(wrong) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}` of Sampling"):
        Sampling(**wrong)


def test_few_lengths_are_compiled_for() -> None:
    sizes = {bucket(length, 100) for length in range(1, 101)}
    assert sizes == {13, 25, 50, 100}
    assert all(bucket(length, 100) >= length for length in range(101))
