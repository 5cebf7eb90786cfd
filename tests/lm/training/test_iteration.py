"""One iteration: what changes from update to update is in the state alone."""

import signal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from joined_threads import in_each, joined_threads
from lm.small_models import completions, tiny_decoder, tiny_model

from klamp.errors import ConfigError, KlampWarning
from klamp.lm.collection.collector import Played, scores
from klamp.lm.config.presets import configure
from klamp.lm.training.iteration import ADVANCE, Iteration, warn_of_mismatch
from klamp.runtime.signals import Signals, StopAsked

ADVANTAGES = {"prompts": 8, "critic_warmup": 1, "critic_epochs": 1, "critic_minibatch_size": 8}
LEARNER = {"epochs": 1, "minibatch_size": 8, "steps": 60}


class Recorded:
    """Completions made beforehand, a new batch for each update."""

    exact = False

    def __init__(self) -> None:
        self.asked: list[int] = []

    def collect(self, decoder: Any, update: int) -> Played:
        self.asked.append(update)
        played = completions(seed=update)
        returns, lengths = scores(played)
        return Played(played, returns, lengths, int(lengths.sum()), {"own": returns}, None, [])

    def evaluated(self, decoder: Any, count: int, **how: Any) -> Played:
        raise AssertionError


@pytest.mark.compiles
def test_a_state_leads_to_the_same_update_whatever_was_before() -> None:
    theta, model = tiny_model()
    texts: Any = SimpleNamespace()
    config = configure("sort", "ppo", {**ADVANTAGES, **LEARNER})
    run = Iteration(config, theta, model, Recorded(), texts)
    first = run.fresh_state()
    assert run.compile(first) > 0
    one, warm = run.advance(first)
    two, line = run.advance(one)
    assert run.collector.asked == [0, 1]
    # The warm-up fits the critic and leaves the policy.
    np.testing.assert_array_equal(one.theta[: model.policy_end], theta[: model.policy_end])
    assert np.any(one.theta[model.critic_start :] != theta[model.critic_start :])
    assert warm["kl"] == 0 < line["kl"]
    assert (int(two.step), int(two.update), int(two.episodes.finished)) == (24, 2, 16)
    assert (
        line["reward_mean"]
        == line["reward_own"]
        == pytest.approx(two.episodes.returns[8:16].mean())
    )
    assert two.episodes.length_mean == 1.5
    # Another object, straight from the state between the updates.
    again = Iteration(config, theta, model, Recorded(), texts).advance(one)[0]
    np.testing.assert_array_equal(again.theta, two.theta)
    assert run.position().arrays() == {}
    policy = run.policy(two)
    assert policy.decoder.config == tiny_decoder().config


def test_another_policy_that_sampled_is_named_at_once() -> None:
    warn_of_mismatch(3, 2e-5)
    warn_of_mismatch(3, float("nan"))
    with pytest.warns(KlampWarning, match=r"Update 3 .* 0\.2 nats .* temperature, top-k"):
        warn_of_mismatch(3, 0.2)


def test_processes_that_begin_with_other_numbers_are_told_apart() -> None:
    theta, model = tiny_model()
    config = configure("sort", "ppo", {**ADVANTAGES, **LEARNER})

    def agreed(shift: float) -> list[Any]:
        def work(each: Any) -> None:
            own = theta + shift * each.index
            parts: Any = (own, model, Recorded(), SimpleNamespace())
            run = Iteration(config, *parts, processes=each)
            run.agree(run.fresh_state())

        joined = joined_threads(2)
        results = in_each(joined, work)
        for each in joined:
            each.watch.leave()
        return results

    assert agreed(0.0) == [None, None]
    for error in agreed(1e-3):
        assert isinstance(error, ConfigError)
        assert "begins with other numbers than process" in str(error)


def test_where_one_process_is_stopped_none_learns() -> None:
    """After they have told each other of their completions: in the same update."""
    theta, model = tiny_model()
    config = configure("sort", "ppo", {**ADVANTAGES, **LEARNER})
    learnt: list[Any] = []
    programs: Any = SimpleNamespace(begin=lambda *parts: learnt.append(parts))

    def work(each: Any) -> None:
        parts: Any = (theta, model, Recorded(), SimpleNamespace(), programs)
        run = Iteration(config, *parts, each)
        if each.index:
            assert each.command() == ADVANCE

        signals = Signals()
        each.heed(signals)
        if each.index:
            signals.number = signal.SIGTERM
        try:
            run.advance(run.fresh_state(), signals.check)
        finally:
            assert signals.number == signal.SIGTERM

    joined = joined_threads(2)
    for result in in_each(joined, work):
        assert isinstance(result, StopAsked)
    for each in joined:
        each.watch.leave()
    assert not learnt
