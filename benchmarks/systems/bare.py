"""The environment alone, stepped with random actions: what no trainer can exceed.

Several environments are stepped in Gymnasium's own vector form where there is one, else in turn.
"""

import time
from typing import Any

import gymnasium
import numpy as np

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions


def loop(env: Any, actions: list[Any], several: bool) -> list[Any]:
    """Step through the actions; whether an episode ended, at each step."""
    ends = []
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        ends.append(terminated | truncated)
        if not several and ends[-1]:
            env.reset()
    return ends


def count(env: Any, ends: list[Any], several: bool) -> int:
    """Environment steps, without the rows in which a vector environment only resets."""
    steps = int(np.size(ends))
    if several and env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.NEXT_STEP:
        steps -= int(np.sum(ends))
    return steps


def measure(work: Work) -> Measurement:
    """Stretches of one rollout each, until the time is over."""
    began = time.perf_counter()
    several = work["num_envs"] > 1
    if several:
        env: Any = gymnasium.make_vec(work["env"], num_envs=work["num_envs"])
    else:
        env = gymnasium.make(work["env"], disable_env_checker=True)
    env.action_space.seed(work["seed"])
    env.reset(seed=work["seed"])
    actions = [np.asarray(env.action_space.sample()) for _ in range(work["rollout_length"])]
    start_s = time.perf_counter() - began
    done: list[Iteration] = []
    while len(done) <= work["warmup"] or sum(item.wall for item in done) < work["seconds"]:
        wall, cpu = now()
        ends = loop(env, actions, several)
        wall_end, cpu_end = now()
        steps = count(env, ends, several)
        done.append(Iteration(steps, wall_end - wall, cpu_end - cpu, wall_end - wall, 0.0))
    found = versions("gymnasium", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
