"""The shipped file runs a policy with numpy alone, in a process that has neither klamp nor JAX."""

import subprocess
import sys

import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from small_policies import policy

from klamp.runtime.numpy_policy import NumpyPolicy

ALONE = """
import sys
import numpy as np
from numpy_policy import NumpyPolicy
policy = NumpyPolicy("policy.npz")
print(policy.act(np.full(3, 0.5)).tolist())
assert not {"jax", "klamp", "gymnasium"} & set(sys.modules)
"""


def test_it_runs_from_its_folder_alone(tmp_path):
    some = policy(OBSERVATIONS["box"], ACTIONS["box"])
    some.export(tmp_path / "policy.npz")
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    wanted = some.act(np.full(3, 0.5), deterministic=True)
    np.testing.assert_allclose(np.array(eval(done.stdout)), wanted, atol=1e-6)


def test_a_recurrent_policy_remembers_until_it_is_reset(tmp_path):
    some = policy(OBSERVATIONS["box"], ACTIONS["box"], recurrent_size=4, spread=3.0)
    some.export(tmp_path / "policy.npz")
    runner, seen = NumpyPolicy(tmp_path / "policy.npz"), np.eye(3, dtype=np.float32)
    first = [runner.act(row) for row in seen]
    np.testing.assert_allclose(first, [some.act(row, True) for row in seen], atol=1e-6)
    assert not np.array_equal(runner.act(seen[0]), first[0])
    runner.reset()
    np.testing.assert_array_equal(runner.act(seen[0]), first[0])


def test_what_does_not_fit_is_said(tmp_path):
    policy(OBSERVATIONS["box"], ACTIONS["discrete"], masked=True).export(tmp_path / "policy.npz")
    runner = NumpyPolicy(tmp_path / "policy.npz")
    assert runner.act(np.zeros(3), action_mask=[0, 0, 1]) == 1
    with pytest.raises(ValueError, match="give `action_mask`"):
        runner.act(np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        runner.act(np.full(3, np.nan), [1, 1, 1])
    with pytest.raises(ValueError, match=r"shape \(1, 4\), expected"):
        runner.act(np.zeros((1, 4)), [[1, 1, 1]])
    with pytest.raises(ValueError, match=r"takes \['observation', 'action_mask'\]"):
        runner(observation=np.zeros((1, 3)))
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match="no policy that klamp has exported"):
        NumpyPolicy(tmp_path / "other.npz")
