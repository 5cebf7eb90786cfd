"""Collection on the device is that of the host, refuses what it refuses, resumes exactly."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax_environments import Broken, CartPole, Masked, Walk

import klamp
from klamp.envs.device.batched import BatchedEnvironment
from klamp.envs.source import resolve
from klamp.evaluation.video import record_video
from klamp.runtime.seeding import EnvironmentSeeds, Purpose
from klamp.training.iteration import Iteration, start
from klamp.training.state import fresh_state

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dropout": (CartPole(limit=12), {"dropout": 0.2}),
    "bounded, scheduled, normalised": (
        Walk(),
        {
            "action_bounds": "tanh",
            "action_scale": "scheduled",
            "action_std_decay": 1e-3,
            "normalize_observation": True,
            "normalize_reward": True,
        },
    ),
    "masked, recurrent": (Masked(), {"recurrent_size": 4, "sequence_length": 8}),
}


def config(environment: Any, algorithm: Any = None, **settings: Any) -> klamp.RunConfig:
    small = {"steps": 10_000, "num_envs": 3, "rollout_length": 16, "hidden_sizes": (4,)}
    algorithm = algorithm or klamp.A2C()
    return klamp.RunConfig(
        resolve(environment).name, algorithm, klamp.Settings(**(small | settings))
    )


def both(kind: str) -> tuple[Any, Any, Any]:
    """An iteration on the device, the host's over equal environments, the state both start from."""
    environment, settings = KINDS[kind]
    chosen = config(environment, **settings)
    fused, state = start(chosen, environment=resolve(environment))
    fused.compile(state)
    rows = chosen.settings.num_envs
    environments = resolve(environment).host(rows, EnvironmentSeeds(0, Purpose.EPISODE))
    host = Iteration(chosen, environments)
    same = fresh_state(chosen, environments.policy_observation_space, host.theta, host.model)
    np.testing.assert_array_equal(same.theta, state.theta)
    host.compile(state)
    return fused, host, state


@pytest.mark.compiles
@pytest.mark.parametrize("kind", KINDS)
def test_an_iteration_is_that_of_the_host(kind: str) -> None:
    """Same seed, so the same actions, ends, advantages, moments, metrics and parameters."""
    fused, host, state = both(kind)
    ours = theirs = state
    finished = 0
    for _ in range(3):
        # Both from one state: what arithmetic in another order differs by is not to add up.
        ours, reported = fused.advance(theirs)
        theirs, expected = host.advance(theirs)
        assert list(reported) == list(expected)
        for name, value in expected.items():
            if isinstance(value, str):
                assert reported[name] == value
            else:
                assert reported[name] == pytest.approx(value, rel=2e-3, abs=2e-5), name
        for one, two in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)
        assert int(ours.episodes.finished) == int(theirs.episodes.finished)
        np.testing.assert_allclose(ours.episodes.returns, theirs.episodes.returns, rtol=1e-4)
        finished = int(ours.episodes.finished)
    assert finished > 3


def test_what_is_not_finite_is_refused_named_and_left_behind() -> None:
    environment = Broken()
    run, state = start(
        config(environment, normalize_observation=True), environment=resolve(environment)
    )
    run.compile(state)
    refused = 0
    for _ in range(4):
        before = state
        state, metrics = run.advance(state)
        assert int(state.step) == int(before.step) + 48
        if metrics["outcome"] == "NON_FINITE":
            refused += 1
            assert metrics["kl"] is None
            assert metrics["non_finite"].startswith("the observation, entry (1,), of")
            again = "the same run, from `seed=0`, comes to it again)"
            assert metrics["non_finite"].endswith(f"without a seed of its own; {again}")
            np.testing.assert_array_equal(before.theta, state.theta)
            assert before.observation_moments is state.observation_moments
            assert not state.episodes.running_length.any()
            assert int(state.refused[1]) == refused
    assert refused > 0


@pytest.mark.compiles
def test_a_position_restored_goes_on_to_the_same_bytes() -> None:
    environment = Walk()
    more = {"recurrent_size": 4, "sequence_length": 8, "normalize_reward": True}
    chosen = config(environment, **more)
    run, state = start(chosen, environment=resolve(environment))
    run.compile(state)
    state, _ = run.advance(state)
    saved, there = run.position(), state
    arrays = {name: array.copy() for name, array in saved.arrays().items()}
    for _ in range(2):
        state, metrics = run.advance(state)
    for name, array in saved.arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg="a position stays as it was")
    other, _ = start(chosen, compiled_by=run, environment=resolve(environment))
    assert other.restore(arrays) == []
    for _ in range(2):
        there, again = other.advance(there)
    assert metrics == again
    for one, two in zip(jax.tree.leaves(state), jax.tree.leaves(there), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()
    with pytest.raises(klamp.CheckpointError, match="does not say where"):
        other.restore({})


def test_nothing_is_compiled_again_and_a_seed_shares_the_program() -> None:
    environment, _ = KINDS["dropout"]
    chosen = config(environment)
    run, state = start(chosen, environment=resolve(environment))
    assert run.compile(state) > 0
    program = run.collector.program
    for _ in range(2):
        state, _ = run.advance(state)
    assert run.collector.program is program
    other = klamp.RunConfig(
        chosen.env, chosen.algorithm, klamp.Settings(**(vars(chosen.settings) | {"seed": 1}))
    )
    second, fresh = start(other, compiled_by=run, environment=resolve(environment))
    assert second.collector.program is program
    assert second.learn is run.learn
    assert not np.array_equal(second.theta, run.theta)
    assert second.advance(fresh)[1]["outcome"] == "ACCEPTED"


@pytest.mark.compiles
def test_train_load_resume_evaluate_an_object(tmp_path: Path) -> None:
    environment = CartPole(limit=30)
    given: dict[str, Any] = {
        "num_envs": 4,
        "rollout_length": 32,
        "hidden_sizes": (8,),
        "quiet": True,
    }
    a2c = klamp.A2C()
    whole = klamp.train(environment, a2c, steps=512, out=tmp_path / "whole", **given)
    klamp.train(environment, a2c, steps=256, out=tmp_path / "parts", **given)
    parts = klamp.resume(tmp_path / "parts", steps=512, quiet=True, environment=environment)
    for one, two in zip(whole.metrics, parts.metrics, strict=True):
        clocks = ("time_s", "steps_per_second")
        assert {k: v for k, v in one.items() if k not in clocks} == {
            k: v for k, v in two.items() if k not in clocks
        }
    np.testing.assert_array_equal(whole.policy.theta, parts.policy.theta)
    policy = klamp.load(tmp_path / "parts", environment=environment)
    np.testing.assert_array_equal(policy.theta, whole.policy.theta)
    result = klamp.evaluate(policy, environment, episodes=5)
    assert len(result.returns) == 5
    assert result.lengths.max() <= 30
    with pytest.raises(klamp.ConfigError, match="Give it again"):
        klamp.load(tmp_path / "parts")
    pytest.importorskip("imageio")
    with pytest.raises(klamp.ConfigError, match="shows no pictures"):
        record_video(policy, tmp_path / "film.gif", env=environment)


def test_together_has_the_environments_spaces() -> None:
    together = BatchedEnvironment(Masked(), 2)
    assert together.policy_observation_space.shape == (3,)
    assert together.action_space is Masked.action_space
