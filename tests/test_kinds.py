"""Every kind of action and observation learns, under PPO and under TRPO's constraint."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from environments import probe

import klamp
from klamp.evaluation.evaluate import evaluate

pytestmark = pytest.mark.compiles

MAX_KL = 0.05
ALGORITHMS = {
    "ppo": klamp.PPO(epochs=6, minibatch_size=64, learning_rate=5e-3),
    "trpo": klamp.TRPO(max_kl=MAX_KL, damping=0.01),
}
COMMON: dict[str, Any] = {
    "num_envs": 8,
    "rollout_length": 32,
    "quiet": True,
}
OF_ALGORITHM: dict[str, dict[str, Any]] = {"ppo": {}, "trpo": {"critic_epochs": 2}}
LAYERS = {"hidden_sizes": (16,)}
NARROW = {"initial_log_std": -0.5}
"""The deviation at first, where actions have one that is learned."""
# Every kind of action and of observation stands in one pair.
PAIRS: dict[str, tuple[str, str]] = {
    "image": ("image", "discrete"),
    "tuple, multidiscrete": ("tuple", "multidiscrete"),
    "multibinary": ("multibinary", "multibinary"),
    "dict, box": ("dict", "box"),
    "discrete, dict": ("discrete", "dict"),
    "multidiscrete, tuple": ("multidiscrete", "tuple"),
}
VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scale by state": ("box", "trpo", {"action_scale": "state"} | NARROW),
    "scale by schedule": ("dict", "trpo", {"action_scale": "scheduled"}),
    "tanh": ("box", "trpo", {"action_bounds": "tanh"} | NARROW),
    "beta": ("dict", "trpo", {"action_bounds": "beta"}),
}


def check_learning(env: str, algo: str, steps: int, out: Path, **settings: Any) -> None:
    """Train; the constraint holds, the reward grows, and what is loaded acts the same."""
    given = COMMON | OF_ALGORITHM[algo] | settings
    result = klamp.train(env, ALGORITHMS[algo], steps=steps, out=out, **given)
    lines = result.metrics
    if algo == "trpo":
        assert all(line["kl"] <= MAX_KL for line in lines)
        assert sum(line["outcome"] == "ACCEPTED" for line in lines) >= len(lines) - 1
    told = ("kl", "entropy", "value_loss")
    assert all(np.isfinite([line[name] for name in told]).all() for line in lines)
    # Returns are at most 4: a good part of what was missing at first must have been learnt.
    first, last = lines[0]["return_mean"], lines[-1]["return_mean"]
    assert last - first > 0.15 * (4 - first)
    loaded = klamp.load(result.folder)
    np.testing.assert_array_equal(loaded.theta, result.policy.theta)
    jax.tree.map(np.testing.assert_array_equal, loaded.scaling, result.policy.scaling)
    if algo == "trpo":
        a, b = (evaluate(p, episodes=4, deterministic=False) for p in (loaded, result.policy))
        np.testing.assert_array_equal(a.returns, b.returns)


@pytest.mark.parametrize(
    ("pair", "algo"),
    [(pair, "trpo") for pair in PAIRS if pair != "image"]
    # The algorithms differ in nothing that depends on the kind; convolutions compile slowly.
    + [(pair, "ppo") for pair in ("image", "tuple, multidiscrete")],
)
def test_every_kind_learns(pair: str, algo: str, tmp_path: Path) -> None:
    steps = 768 if pair == "image" else 2_304
    observation, action = PAIRS[pair]
    given: dict[str, Any] = dict(NARROW) if action in ("box", "dict", "tuple") else {}
    given |= {} if observation == "image" else LAYERS
    check_learning(probe(observation, action), algo, steps, tmp_path / "run", **given)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_head_learns(variant: str, tmp_path: Path) -> None:
    action, algo, settings = VARIANTS[variant]
    check_learning(probe("box", action), algo, 2_304, tmp_path / "run", **LAYERS | settings)


@pytest.mark.parametrize(
    ("observation", "action", "masked", "algo"),
    [("discrete", "multidiscrete", "info", "trpo"), ("box", "discrete", "observation", "ppo")],
)
def test_masked_actions_learn(
    observation: str, action: str, masked: str, algo: str, tmp_path: Path
) -> None:
    """The probe raises where a forbidden action is taken, in training and in evaluation."""
    check_learning(probe(observation, action, masked), algo, 1_536, tmp_path / "run", **LAYERS)


def test_a_scheduled_scale_decays_is_logged_and_resumes(tmp_path: Path) -> None:
    settings = (
        COMMON
        | LAYERS
        | {
            "action_scale": "scheduled",
            "action_std": 0.5,
            "action_std_decay": 1e-3,
            "action_std_minimum": 0.1,
        }
    )
    env = probe("box", "box")
    whole = klamp.train(env, ALGORITHMS["ppo"], steps=768, out=tmp_path / "whole", **settings)
    stds = [line["action_std"] for line in whole.metrics]
    np.testing.assert_allclose(stds, [0.5, 0.244, 0.1])
    part = klamp.train(env, ALGORITHMS["ppo"], steps=512, out=tmp_path / "part", **settings)
    rest = klamp.resume(part.folder, steps=768, quiet=True)
    assert [line["action_std"] for line in rest.metrics] == stds
    assert klamp.load(part.folder).log_std == whole.policy.log_std == np.log(0.1)
