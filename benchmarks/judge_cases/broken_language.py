"""What is broken on purpose in runs of language models."""

from dataclasses import replace
from typing import Any


def _temperature() -> None:
    """Updates forget the temperature that tokens were sampled at."""
    from klamp.lm.networks import model

    model.LanguageActor.choose = _with_temperature(model.LanguageActor.choose)


def _with_temperature(true: Any) -> Any:
    def broken(actor: Any, features: Any) -> Any:
        return true(replace(actor, temperature=1.0), features)

    return broken


def _mask() -> None:
    """Tokens see what stands behind them."""
    from klamp.lm.networks import decoder

    true = decoder.Decoder._allowed

    def broken(self: Any, place: Any, *rest: Any) -> Any:
        return true(self, place + 1, *rest)

    decoder.Decoder._allowed = broken


def _unscored() -> None:
    """Slots that hold no action count as actions."""
    import jax.numpy as jnp

    from klamp.lm.collection import text_collector

    true = text_collector.completions_of

    def broken(*given: Any) -> Any:
        found = true(*given)
        return found._replace(weight=jnp.ones_like(found.weight))

    text_collector.completions_of = broken


def _aggregation() -> None:
    """Every aggregation is the mean over tokens."""
    from klamp.lm.learning import update

    true = update.aggregation_scale
    update.aggregation_scale = lambda weight, _: true(weight, "token")


def _baseline() -> None:
    """Completions are compared with the whole batch and not with those of their prompt."""
    from klamp.lm.learning import update

    true = update.group_advantage
    update.group_advantage = lambda score, _, baseline: true(score, len(score), baseline)


def _bound() -> None:
    """A region three tenths too large."""
    from klamp.algorithms import ppo

    true = ppo.draw_back

    def broken(*given: Any, max_kl: float) -> Any:
        return true(*given, max_kl=1.3 * max_kl)

    ppo.draw_back = broken


def _sequence() -> None:
    """KL(old‖new) of a completion is told as that of a token."""
    from klamp.lm.training import iteration

    true = iteration.report_metrics

    def broken(told: Any) -> Any:
        line = true(told)
        return line | {"kl_sequence": line["kl"]}

    iteration.report_metrics = broken


def _masked() -> None:
    """Completions that were cut off are learnt from as if they had ended."""
    from klamp.lm.learning import update

    true = update.limited
    update.limited = lambda completions, _: true(completions, "end")


def _padding() -> None:
    """Padding is attended to."""
    import jax.numpy as jnp

    from klamp.lm.networks import decoder

    true = decoder.Decoder._allowed

    def broken(self: Any, *parts: Any) -> Any:
        return true(self, *parts[:-1], jnp.ones_like(parts[-1]))

    decoder.Decoder._allowed = broken


PLANTS = {
    "updates without the temperature": _temperature,
    "a mask that lets tokens see the next": _mask,
    "empty slots are scored": _unscored,
    "aggregation by tokens always": _aggregation,
    "the batch for a baseline": _baseline,
    "δ exceeded in tokens": _bound,
    "a token's KL for a completion's": _sequence,
    "masked completions are learnt from": _masked,
    "padding is attended to": _padding,
}
