"""From an update to the numbers of its line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_environments import Walk

import klamp
from klamp.config.algorithms import ALGORITHMS
from klamp.envs.source import resolve
from klamp.training.iteration import start
from klamp.training.learning import initial_state, make_learn
from klamp.training.metrics import refused_metrics, report_metrics
from klamp.training.state import behavior_policy
from klamp.trust_region.report import Outcome
from klamp.types import UpdateReport


def test_a_report_becomes_plain_numbers() -> None:
    numbers = [jnp.asarray(float(i)) for i in range(10)]
    outcome = jnp.asarray(int(Outcome.LINE_SEARCH_EXHAUSTED))
    report = UpdateReport(outcome, *numbers, details={"backtracks": jnp.asarray(3)})
    flat = report_metrics(report)
    assert flat["outcome"] == "LINE_SEARCH_EXHAUSTED"
    assert flat["backtracks"] == 3
    assert flat["kl"] == 2.0
    assert all(isinstance(value, int | float | str) for value in flat.values())


OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "ppo": ({"max_kl": 0.01, "clip_upper": 0.3, "target_kl": 0.01},),
    "ppo-kl": ({"target_kl": None},),
}
"""What each algorithm may be told besides its defaults that adds to its reports."""


LANGUAGE = {
    *("reward_mean", "completion_length_mean", "truncated_share", "groups_without_spread"),
    *("ratio_error", "kl_sequence", "kl_reference", "reference_coefficient", "accuracy_greedy"),
}
"""What runs of language models write besides."""


def reports(shared: bool) -> Callable[[Any], set[str]]:
    """From an algorithm to the keys of its report; nothing is computed."""
    small = klamp.Settings(num_envs=2, rollout_length=8, hidden_sizes=(4,), shared_network=shared)
    source = resolve(Walk())
    config = klamp.RunConfig(source.name, klamp.PPO(), small)
    with jax.disable_jit():
        run, state = start(config, environment=source)
    # Collection knows no algorithm: the rollout is the same for all of them.
    behavior = run.collector.arguments(behavior_policy(config, state))
    rollout = jax.eval_shape(run.collector.program, *behavior).rollout
    theta, _, *rest = run.learn_arguments(state, rollout, np.ones((), np.float32))

    def reported(algorithm: Any) -> set[str]:
        settings = klamp.RunConfig(source.name, algorithm, small).settings
        carried = jax.eval_shape(lambda at: initial_state(algorithm, run.model, at), theta)
        learn = make_learn(run.model, algorithm, settings)
        report = jax.eval_shape(learn, theta, carried, *rest)[2]._asdict()
        return {*report.pop("details"), *report}

    return reported


def documented() -> set[str]:
    """The keys in the first columns of the tables of docs/metrics.md."""
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    columns = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    keys = [key for column in columns for key in re.findall(r"`(\w+)`", column)]
    assert len(keys) == len({*keys}), "a key has one row"
    return {*keys}


@pytest.mark.compiles
def test_every_key_that_is_written_is_documented_and_no_other(trained: klamp.Result) -> None:
    written = {*trained.summary, *refused_metrics("x")}
    for line in trained.metrics:
        written |= {*line}
    for reported in map(reports, (False, True)):
        for algo, kind in ALGORITHMS.items():
            for options in ({}, *OPTIONS.get(algo, ())):
                written |= reported(kind(**options))
    # Written by the loop where a schedule sets the scale (test_kinds reads it), and where a run is
    # evaluated or stopped (test_periodic and test_callbacks read them).
    written |= {"action_std", "stopped"}
    written |= {"eval_return_mean", "eval_return_std", "eval_length_mean"}
    # Of language models, where each reward function has a key of its own (lm/test_training).
    assert written == documented() - LANGUAGE
