"""A language model as θ and what is frozen."""

import jax
import numpy as np
from lm.small_models import VOCABULARY, completions, frozen_head_model, tiny_decoder, tiny_model

from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.model import inputs_of
from klamp.lm.networks.vocabulary import VocabularyDistribution
from klamp.lm.tokens.sequences import read_columns
from klamp.mathematics.distributions import Categorical
from klamp.networks import Model

distribution_of = jax.jit(Model.distribution)


def shown() -> tuple:
    played = completions()
    columns = read_columns(played.valid, played.positions)
    read = jax.jit(Decoder.features_at)
    features = read(tiny_decoder(), played.tokens, played.valid, columns)
    return played, inputs_of(played.with_features(features))


def test_the_policy_of_an_action_is_that_of_the_token_before_it() -> None:
    played, inputs = shown()
    theta, model = tiny_model()
    logits = jax.jit(Decoder.logits)(tiny_decoder(), played.tokens, played.valid)
    logits = np.asarray(logits) / 0.7
    found = distribution_of(model, theta, inputs)
    assert isinstance(found, Categorical)
    for row, column in np.argwhere(np.asarray(played.weight) > 0):
        position = played.positions[row, column]
        np.testing.assert_allclose(found.logits[row, column], logits[row, position], atol=1e-5)


def test_a_frozen_head_is_kept_beside_the_features() -> None:
    played, inputs = shown()
    (whole, model), (blocks, frozen) = tiny_model(), frozen_head_model()
    assert blocks.size == whole.size - 2 * VOCABULARY * 8 - 8
    one, other = distribution_of(model, whole, inputs), distribution_of(frozen, blocks, inputs)
    assert isinstance(other, VocabularyDistribution)
    np.testing.assert_allclose(
        one.log_prob(played.action), other.log_prob(played.action), atol=1e-5
    )
    np.testing.assert_allclose(one.entropy(), other.entropy(), atol=1e-5)


def test_no_gradient_of_the_critic_reaches_the_trunk() -> None:
    _, inputs = shown()
    theta, model = tiny_model()
    theta = theta + 0.1
    gradient = jax.jit(jax.grad(lambda at: model.value(at, inputs).sum()))(theta)
    assert not np.any(gradient[: model.policy_end])
    assert np.all(gradient[model.critic_start :][-6:] != 0)
    assert not model.shared
