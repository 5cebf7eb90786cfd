"""Learning from preferences, in miniature: a reward model is fitted, and then maximised.

What people like (the gold reward) is known here, so over-optimisation (arXiv:2210.10760) can be
seen: the learned reward goes on rising where the gold one falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.lm.environments.environment import NOTHING_SAID, TokenTurn, play
from klamp.lm.environments.rewards import RewardFunction
from klamp.lm.learning.supervised import WarmStart, minimised
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import Sampling, TurnLimits

VOCABULARY = ("!", "a", "b", "c", "d", "e", "f", "?")
"""The texts of the ids 1, 2, …; 0 ends a text."""
END, PRAISE, QUESTION = 0, 1, 8

FIT = WarmStart(steps=200, batch=128, learning_rate=1e-3)
"""How a reward model is fitted."""


class RewardModel(eqx.Module):
    """A decoder whose features say of each token how good it is; the sequence is as good as these.

    The mean over tokens goes on rising beyond what was compared: what is over-optimised, as with
    larger models, is what a reward model says of texts unlike those that it was fitted to.
    """

    decoder: Decoder
    head: Float[Array, " D"]
    mean: Float[Array, ""]
    """Of its answers before any training of the policy; and their deviation."""
    deviation: Float[Array, ""]
    least: Float[Array, ""]
    """The worst of those answers."""

    def __call__(self, tokens: Int[Array, "S L"]) -> Float[Array, " S"]:
        """One number for each sequence: mean 0 and deviation 1 at the start.

        A sequence that ends early (``END``) is as bad as the worst: preferences between whole ones
        do not say what a missing token is worth, and a policy would find out where it is most.
        """
        raw = jnp.mean(self.decoder.features(tokens) @ self.head, axis=1)
        raw = jnp.where(jnp.any(tokens == END, axis=1), self.least, raw)
        return (raw - self.mean) / self.deviation


class Pairs(NamedTuple):
    """Sequences to the same prompt, of which one was preferred."""

    chosen: Int[Array, "N L"]
    rejected: Int[Array, "N L"]


@dataclass(frozen=True)
class Compliments:
    """Eight tokens, of which some are ``!``: people like four, and like none or eight least.

    The gold reward is 1 − ((k − 4)/4)² for k of them. The demonstrations have so few that a reward
    model fitted to them sees that more is better, and hardly that there is too much.
    """

    length: int = 8
    turns: int = 1

    @property
    def limits(self) -> TurnLimits:
        """All of one length."""
        return TurnLimits(self.length)

    def reset(self, key: PRNGKeyArray) -> tuple[Int[Array, ""], Int[Array, "1"], Bool[Array, "1"]]:
        """The prompt is ``?``."""
        del key
        return jnp.asarray(0), jnp.asarray([QUESTION]), jnp.ones(1, bool)

    def gold(self, tokens: Int[Array, "*S N"]) -> Float[Array, "*S"]:
        """What people think of the tokens, from 0 to 1."""
        most = self.length / 2
        return 1 - jnp.square((jnp.sum(tokens == PRAISE, axis=-1) - most) / most)

    def step(self, state: Int[Array, ""], tokens: Int[Array, " N"], count: Array) -> TokenTurn:
        """The gold reward."""
        del count
        over = jnp.asarray(True)
        return TokenTurn(state, *NOTHING_SAID, self.gold(tokens), over, ~over)

    def expert(self, state: Int[Array, ""], key: PRNGKeyArray) -> tuple[Array, Array]:
        """Praise once in fourteen tokens, else any but the prompt's."""
        del state
        drawn, which = jax.random.split(key)
        other = jax.random.randint(which, (self.length,), PRAISE + 1, QUESTION)
        praised = jax.random.uniform(drawn, (self.length,)) < 1 / 14
        return jnp.where(praised, PRAISE, other), jnp.asarray(self.length)


def preferred(
    tokens: Int[Array, "N 2 L"],
    gold: Float[Array, "N 2"],
    key: PRNGKeyArray,
    sharpness: float = 8.0,
) -> Pairs:
    """Which of two somebody prefers: the first with the probability σ(sharpness·(gold₁ − gold₂)).

    The model of Bradley and Terry (1952), as in arXiv:1706.03741, section 2.2.3.
    """
    first = jax.random.bernoulli(key, jax.nn.sigmoid(sharpness * (gold[:, 0] - gold[:, 1])))
    ordered = jnp.where(first[:, None, None], tokens, tokens[:, ::-1])
    return Pairs(ordered[:, 0], ordered[:, 1])


def preference_loss(model: RewardModel, pairs: Pairs) -> Float[Array, ""]:
    """−E[log σ(r(chosen) − r(rejected))], in nats (arXiv:2203.02155, eq. 1)."""
    return -jnp.mean(jax.nn.log_sigmoid(model(pairs.chosen) - model(pairs.rejected)))


@eqx.filter_jit
def fitted(
    decoder: Decoder, pairs: Pairs, start: WarmStart, key: PRNGKeyArray
) -> tuple[RewardModel, Float[Array, " steps"]]:
    """A reward model on top of the decoder, fitted to preferences, and the loss of each step."""
    count = len(pairs.chosen)
    zero, one = jnp.zeros(()), jnp.ones(())

    def batch_of(step: Array) -> Pairs:
        rows = jax.random.randint(jax.random.fold_in(key, step), (start.batch,), 0, count)
        return jax.tree.map(lambda part: part[rows], pairs)

    def loss(parts: tuple[Decoder, Array], pairs: Pairs) -> Array:
        return preference_loss(RewardModel(*parts, zero, one, zero), pairs)

    head = jnp.zeros(decoder.head.shape[1])
    (decoder, head), losses = minimised((decoder, head), loss, batch_of, start)
    raw = RewardModel(decoder, head, zero, one, zero)(jnp.concatenate(pairs))
    return RewardModel(decoder, head, jnp.mean(raw), jnp.std(raw), jnp.min(raw)), losses


def fitted_to_samples(
    decoder: Decoder, environment: Compliments, key: PRNGKeyArray, count: int = 512
) -> RewardModel:
    """A reward model from preferences between ``count`` pairs of the decoder's own completions."""
    numbers = jnp.arange(2 * count)
    sample, prefer, fit = jax.random.split(key, 3)
    played = play(decoder, environment, key, numbers, sample, numbers, Sampling())
    gold = environment.gold(played.action).reshape(count, 2)
    pairs = preferred(played.tokens.reshape(count, 2, -1), gold, prefer)
    return fitted(decoder, pairs, FIT, fit)[0]


def reward_function(model: RewardModel, environment: Compliments) -> RewardFunction:
    """The model as a reward function, by the name ``learned``."""
    score = eqx.filter_jit(lambda model, tokens: model(tokens))

    def learned(completion_ids: Sequence[Sequence[int]]) -> list[float]:
        tokens = np.full((len(completion_ids), 1 + environment.length), END, np.int32)
        tokens[:, 0] = QUESTION
        for row, ids in enumerate(completion_ids):
            tokens[row, 1 : 1 + len(ids)] = ids
        return np.asarray(score(model, tokens)).tolist()

    return learned
