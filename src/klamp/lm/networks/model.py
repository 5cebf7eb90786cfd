"""A language model as the policy that the updates know: θ, what is frozen, and a critic.

Axes are named S (sequences), L (tokens), A (action slots), D (width) and V (vocabulary). A batch of
the core has ``Inputs`` whose observation is ``Sequences``: minibatches and Fisher subsampling take
whole sequences, and logits are computed at actions only.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.vocabulary import VocabularyDistribution
from klamp.lm.tokens.sequences import Completions, read_columns
from klamp.mathematics.distributions import Categorical
from klamp.networks import ActorCritic, Model, NoEncoder, flatten
from klamp.networks.layers import Dense
from klamp.runtime.compile_cache import compile_cheaply
from klamp.types import Inputs, Shared


class Sequences(NamedTuple):
    """What the policy sees of S sequences."""

    tokens: Int[Array, "S L"]
    """Prompt, actions and observations, from the left."""
    valid: Bool[Array, "S L"]
    """False for the padding behind them."""
    positions: Int[Array, "S A"]
    """The column of the token from whose features each action is predicted."""
    features: Float[Array, "S A D"]
    """What the policy that collected computed there: what the critic reads."""


class LanguageActor(eqx.Module):
    """Sequences to a distribution over the vocabulary for each action."""

    decoder: Decoder
    temperature: float = eqx.field(static=True)
    """Logits are divided by it, in every update as when sampling."""
    trains_head: bool = eqx.field(static=True)
    """Whether the head is part of θ: its logits are then kept whole, [S, A, V]."""

    def __call__(self, inputs: Inputs) -> Categorical | VocabularyDistribution:
        """One distribution for each action slot."""
        seen: Sequences = inputs.observation
        return self.choose(self.read(seen.tokens, seen.valid, seen.positions)[:, :-1])

    def read(
        self,
        tokens: Int[Array, "S L"],
        valid: Bool[Array, "S L"],
        positions: Int[Array, "S A"],
    ) -> Float[Array, "S R D"]:
        """What the trunk says at each action's position, and at the last token.

        Always of both: the policy that collected and the one that learns are computed alike, so
        that their ratio is exactly 1 before the first step.
        """
        return self.decoder.features_at(tokens, valid, read_columns(valid, positions))

    def choose(self, features: Float[Array, "*B D"]) -> Categorical | VocabularyDistribution:
        """The distribution over the vocabulary that follows from features."""
        head = self.decoder.head
        if self.trains_head:
            return Categorical(features / self.temperature @ head.T.astype(features.dtype))
        return VocabularyDistribution(features, Shared(head), self.temperature)


class ValueHead(eqx.Module):
    """V of the features that the policy which collected computed.

    They are data of the batch: no gradient of V reaches the trunk, and policy and critic share no
    parameter. V is 0 at first.
    """

    hidden: Dense
    out: Dense

    def __call__(self, inputs: Inputs) -> Float[Array, "S A"]:
        """One value for each action slot."""
        return self.of(inputs.observation.features)

    def of(self, features: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        """V where the policy's trunk says this."""
        return self.out(jnp.tanh(self.hidden(features)))[..., 0]


def value_head(width: int, hidden: int, key: PRNGKeyArray) -> ValueHead:
    """A critic with one hidden layer."""
    first, second = jax.random.split(key)
    return ValueHead(
        Dense(width, hidden, gain=1.0, key=first), Dense(hidden, 1, gain=0.0, key=second)
    )


def language_model(
    decoder: Decoder,
    trainable: Any,
    *,
    temperature: float,
    value_hidden: int,
    key: PRNGKeyArray,
) -> tuple[Float[Array, " n"], Model]:
    """The θ of a decoder with a critic, and both as functions of it.

    ``trainable`` says what of the decoder is θ, as Equinox's ``filter_spec`` does; the rest are
    leaves of the ``Model``. θ = [decoder's trained part | critic].
    """
    head = eqx.filter(decoder, trainable).head
    actor = LanguageActor(decoder, temperature, trains_head=head is not None)
    critic = compile_cheaply(value_head)(decoder.config.width, value_hidden, key)
    network = ActorCritic(actor, NoEncoder(), critic)
    everything = jax.tree.map(lambda _: True, network)
    spec = eqx.tree_at(lambda whole: whole.actor.decoder, everything, trainable)
    return flatten(network, spec)


def inputs_of(completions: Completions) -> Inputs:
    """What policy and critic see; the completions have their features."""
    features = completions.features
    assert features is not None
    seen = (completions.tokens, completions.valid, completions.positions)
    return Inputs(Sequences(*seen, features))
