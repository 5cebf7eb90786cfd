"""What a language model did, as the transitions that an update learns from.

While sequences are played, every token is recorded with the turn in which the policy sampled it
(``Record``); what is an action is read from that record and never from the ids. Afterwards the
actions of each sequence are gathered into slots 0 … A − 1, in order (``Completions``), so that
prompts, observations and padding are seen by the policy but are no samples.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from klamp.types import HostOrDevice

Truncation = Literal["bootstrap", "mask", "end"]
"""What a length limit means: the future is estimated by V of the whole sequence; the sequence is
not learnt from; or it is an end like any other, and nothing follows."""


class Record(NamedTuple):
    """S sequences as they were played, one column per call of the decoder, holes included."""

    tokens: Int[Array, "S L"]
    """Prompt, sampled tokens and observations; anything where ``valid`` is False."""
    valid: Bool[Array, "S L"]
    """Whether there is a token: False for padding, and where other rows had more to say."""
    turn: Int[Array, "S L"]
    """The turn in which the policy sampled the token, from 1; 0 for all that it did not sample."""
    reward: Float[Array, "S L"]
    """What was earned when this token had been written."""
    log_prob: Float[Array, "S L"] | None = None
    """Log of the probability that the token was sampled with, in nats; None where not known."""


class Completions(NamedTuple):
    """S sequences and their A action slots; the actions of a sequence come first, in order."""

    tokens: Int[Array, "S L"]
    """Prompt, actions and observations, without holes, from the left."""
    valid: Bool[Array, "S L"]
    """True for tokens, False for the padding behind them."""
    positions: Int[Array, "S A"]
    """The column of the token from whose features the action is predicted, the one before it."""
    action: Int[Array, "S A"]
    """The sampled token's id; 0 under weight 0."""
    weight: Float[Array, "S A"]
    """1 where the policy sampled a token, 0 in slots that are not used."""
    turn: Int[Array, "S A"]
    """The turn that the action belongs to, from 1; 0 under weight 0."""
    reward: Float[Array, "S A"]
    """The reward, on the action that earned it; 0 under weight 0."""
    terminated: Bool[Array, "S A"]
    """True on the last action of a sequence that ended by itself: nothing follows."""
    truncated: Bool[Array, "S A"]
    """True on the last action of a sequence that a limit of length or turns cut off."""
    prompt: Int[Array, " S"]
    """The row of the data that the prompt is from."""
    log_prob: Float[Array, "S A"] | None = None
    """Log of the probability that the action was sampled with, as the sampler had it, in nats;
    0 under weight 0. None where not known. Where it is not that of the policy that is learnt from,
    the two are not one: another temperature, mask, position or precision."""
    features: Float[Array, "S A D"] | None = None
    """What the collecting policy's trunk said at ``positions``."""
    final_features: Float[Array, "S D"] | None = None
    """The same at the last token: what the value of a cut sequence's future is read from."""

    def last_action(self) -> Bool[Array, "S A"]:
        """True on the last action of each sequence; nowhere in one that has none."""
        return last_of(self.weight > 0)

    def with_features(self, features: Float[Array, "S R D"]) -> "Completions":
        """With what the trunk said at the R = A + 1 columns of ``read_columns``."""
        return self._replace(features=features[:, :-1], final_features=features[:, -1])

    def with_reward(self, reward: Float[Array, "S *turns"]) -> "Completions":
        """With more reward: one number for each sequence, on its last action, or one for each turn.

        Rewards of turns that a sequence does not have are not read.
        """
        earned = self.last_action()
        if reward.ndim == 1:
            more = reward[:, None]
        else:
            turns = jnp.clip(self.turn - 1, 0, reward.shape[1] - 1)
            more = jnp.take_along_axis(reward, turns, axis=1)
            going_on = self.turn == jnp.roll(self.turn, -1, axis=1)
            earned = (self.weight > 0) & (~going_on | earned) & (self.turn <= reward.shape[1])
        return self._replace(reward=self.reward + jnp.where(earned, more, 0))

    def cut(self, length: int, actions: int) -> "Completions":
        """The first ``length`` columns and ``actions`` slots: no sequence may have more."""

        def slots(leaf: Array) -> Array:
            return leaf[:, :actions]

        parts = self._replace(tokens=self.tokens[:, :length], valid=self.valid[:, :length])
        names = ("positions", "action", "weight", "turn", "reward", "terminated", "truncated")
        parts = parts._replace(**{name: slots(getattr(self, name)) for name in names})
        known = {name: getattr(self, name) for name in ("log_prob", "features")}
        return parts._replace(**jax.tree.map(slots, known))


class Transitions(NamedTuple):
    """What ``gae`` takes, time-major: [A, S]. Slots of weight 0 are reward 0 behind an end."""

    reward: Float[Array, "A S"]
    value: Float[Array, "A S"]
    next_value: Float[Array, "A S"]
    terminated: Bool[Array, "A S"]
    truncated: Bool[Array, "A S"]


def completions_of(
    record: Record,
    terminated: Bool[HostOrDevice, " S"],
    truncated: Bool[HostOrDevice, " S"],
    prompt: Int[Array, " S"],
    actions: int,
) -> Completions:
    """The record without its holes, and its sampled tokens as actions.

    A reward on or after observation tokens reaches the last action before them. ``actions`` is A,
    at least the number of tokens sampled in any row. The first token of a row must not be sampled.
    """
    order = jnp.argsort(~record.valid, axis=1, stable=True)
    tokens, valid, turn, reward, log_prob = jax.tree.map(
        lambda part: jnp.take_along_axis(part, order, axis=1), record
    )
    turn = jnp.where(valid, turn, 0)
    sampled = turn > 0
    columns = jnp.argsort(~sampled, axis=1, stable=True)[:, :actions]
    used = jnp.take_along_axis(sampled, columns, axis=1)

    def slots(leaf: Array) -> Array:
        return jnp.where(used, jnp.take_along_axis(leaf, columns, axis=1), 0)

    last = last_of(used)
    return Completions(
        tokens=jnp.where(valid, tokens, 0),
        valid=valid,
        positions=jnp.where(used, jnp.maximum(columns - 1, 0), 0),
        action=slots(tokens),
        weight=used.astype(jnp.float32),
        turn=slots(turn),
        reward=_earned(jnp.where(valid, reward, 0), sampled, used),
        terminated=last & terminated[:, None],
        truncated=last & truncated[:, None] & ~terminated[:, None],
        prompt=prompt,
        log_prob=None if log_prob is None else slots(log_prob),
    )


def _earned(
    reward: Float[Array, "S L"], sampled: Bool[Array, "S L"], used: Bool[Array, "S A"]
) -> Float[Array, "S A"]:
    """Each token's reward on the last action up to it; on the first where there is none before."""
    slot = jnp.maximum(jnp.cumsum(sampled, axis=1) - 1, 0)
    rows = jnp.arange(reward.shape[0])[:, None]
    placed = jnp.zeros(used.shape, jnp.float32).at[rows, slot].add(reward)
    return jnp.where(used, placed, 0)


def limited(completions: Completions, truncation: Truncation) -> Completions:
    """The completions with a length limit meaning what ``truncation`` says."""
    if truncation == "bootstrap":
        return completions
    cut = completions.truncated
    if truncation == "end":
        ended = completions.terminated | cut
        return completions._replace(terminated=ended, truncated=jnp.zeros_like(cut))
    kept = ~jnp.any(cut, axis=1, keepdims=True)
    return completions._replace(weight=jnp.where(kept, completions.weight, 0))


def transitions(
    completions: Completions, value: Float[Array, "S A"], final_value: Float[Array, " S"]
) -> Transitions:
    """The action tokens as the transitions of a control task, one episode per sequence.

    ``value`` is V at ``features``, ``final_value`` at ``final_features``. What an action leads to
    is where the next one is chosen, after the observations between them. What stands in slots that
    are not used may be anything.
    """
    used = completions.turn > 0
    value = jnp.where(used, value, 0)
    after = jnp.concatenate([value[:, 1:], jnp.zeros_like(value[:, :1])], axis=1)
    ahead = jnp.where(last_of(used), final_value[:, None], after)
    parts = (
        jnp.where(used, completions.reward, 0),
        value,
        jnp.where(used, ahead, 0),
        completions.terminated,
        # A slot that is not used is an end: nothing crosses it.
        completions.truncated | ~used,
    )
    return Transitions(*(jnp.swapaxes(part, 0, 1) for part in parts))


def last_of(used: Bool[Array, "S A"]) -> Bool[Array, "S A"]:
    """True at the last True of each row."""
    return used & (jnp.cumsum(used, axis=1) == jnp.sum(used, axis=1, keepdims=True))


def read_columns(valid: Bool[Array, "S L"], positions: Int[Array, "S A"]) -> Int[Array, "S R"]:
    """The R = A + 1 columns whose features are read: one for each action, and the last token's."""
    last = jnp.sum(valid, axis=1, keepdims=True) - 1
    return jnp.concatenate([positions, last], axis=1)
