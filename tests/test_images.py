"""Images among the parts of a Dict or Tuple: trained, resumed, evaluated and exported."""

import io
from pathlib import Path
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from environments import Probe
from gymnasium import spaces
from jax_environments import Walk

import klamp
from klamp.envs.device.protocol import DeviceStep
from klamp.evaluation.export.check import TOLERANCE, differences
from klamp.evaluation.export.numpy_archive import numpy_archive
from klamp.evaluation.export.onnx_model import onnx_model
from klamp.evaluation.export.policy_graph import exported
from klamp.runtime.numpy_policy import NumpyPolicy

pytestmark = pytest.mark.compiles

IMAGE = spaces.Box(0, 255, (9, 9, 1), np.uint8)
ARM = spaces.Box(-np.inf, np.inf, (2,), np.float32)
SMALL: dict[str, Any] = {
    "num_envs": 2, "rollout_length": 16, "quiet": True, "seed": 1, "checkpoint_interval": 32,
}  # fmt: skip
SEPARATE = {"hidden_sizes": (4,), "normalize_observation": True}


class Camera(gymnasium.ObservationWrapper):
    """The picture of a probe as it is, in a Dict, or beside what an arm feels."""

    def __init__(self, env: Any, form: str) -> None:
        super().__init__(env)
        both = {"arm": ARM, "deep": spaces.Tuple((IMAGE, spaces.Discrete(2)))}
        forms = {"plain": IMAGE, "alone": spaces.Dict({"camera": IMAGE}), "both": spaces.Dict(both)}
        self.form, self.observation_space = form, forms[form]

    def observation(self, observation: Any) -> Any:
        if self.form == "both":
            arm = np.array([100 * self.unwrapped.steps, -3], np.float32)
            return {"arm": arm, "deep": (observation, np.int64(self.unwrapped.steps % 2))}
        return {"camera": observation} if self.form == "alone" else observation


def camera(form: str) -> Camera:
    return Camera(Probe("image", "discrete"), form)


def filmed(at: Any) -> Any:
    """A walk as what an arm feels, and a picture that is dark left of a number."""
    bright = jnp.where(jnp.arange(9) > at[0], 255, 0).astype(jnp.uint8)
    return (at, jnp.broadcast_to(bright[None, :, None], (9, 9, 1)))


class FilmedWalk(Walk):
    """Written in JAX."""

    observation_space = spaces.Tuple((ARM, IMAGE))

    def reset(self, key: Any) -> tuple:
        state, at = super().reset(key)
        return state, filmed(at)

    def step(self, key: Any, state: dict, action: Any) -> DeviceStep:
        after = super().step(key, state, action)
        return after._replace(observation=filmed(after.observation))


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "TRPO, separate": (lambda: camera("both"), klamp.TRPO(), SEPARATE),
    "PPO, recurrent": (
        lambda: camera("both"),
        klamp.PPO(epochs=1, minibatch_size=16),
        {"hidden_sizes": (4,), "recurrent_size": 4, "sequence_length": 4},
    ),
    "TRPO, shared, JAX": (FilmedWalk(), klamp.TRPO(), SEPARATE | {"shared_network": True}),
}


def theta(policy: Any) -> bytes:
    return np.asarray(policy.theta).tobytes()


@pytest.mark.parametrize("case", CASES)
def test_a_run_learns_within_its_region_and_resumes_to_the_byte(case: str, tmp_path: Path) -> None:
    env, algorithm, settings = CASES[case]
    whole = klamp.train(env, algorithm, steps=96, out=tmp_path / "whole", **SMALL, **settings)
    klamp.train(env, algorithm, steps=64, out=tmp_path / "part", **SMALL, **settings)
    part = klamp.resume(tmp_path / "part", steps=96, quiet=True, environment=env)
    assert theta(part.policy) == theta(whole.policy)
    if "TRPO" in case:
        assert all(line["kl"] <= 0.01 for line in whole.metrics)
        assert "ACCEPTED" in [line["outcome"] for line in whole.metrics]
    loaded = klamp.load(tmp_path / "part", environment=env)
    if settings.get("normalize_observation"):
        # Only the numbers are normalised: the arm's two, and the one-hot of a Discrete.
        assert loaded.scaling.shift.shape == ((2,) if "JAX" in case else (4,))
    one, other = (klamp.evaluate(policy, env, episodes=2) for policy in (loaded, whole.policy))
    np.testing.assert_array_equal(one.returns, other.returns)
    built = exported(loaded)
    session = onnxruntime.InferenceSession(onnx_model(built), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    archive = NumpyPolicy(io.BytesIO(numpy_archive(built)))
    for run in (
        lambda given: dict(zip(names, session.run(names, given), strict=True)),
        lambda given: archive(**given),
    ):
        assert max(differences(loaded, built, run, rows=8).values()) <= TOLERANCE


def test_one_image_in_a_dict_is_the_plain_image(tmp_path: Path) -> None:
    one, other = (
        klamp.train(
            lambda form=form: camera(form),
            klamp.PPO(epochs=1, minibatch_size=16),
            steps=32,
            out=tmp_path / form,
            **SMALL,
        ).policy
        for form in ("plain", "alone")
    )
    assert theta(one) == theta(other)
