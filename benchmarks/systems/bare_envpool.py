"""EnvPool alone, stepped with random actions on all cores: what no trainer over it can exceed."""

import time

import numpy as np

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions


def measure(work: Work) -> Measurement:
    """Stretches of one rollout each, until the time is over."""
    began = time.perf_counter()
    import envpool

    envs, length = work["num_envs"], work["rollout_length"]
    env = envpool.make(
        work["env"],
        env_type="gymnasium",
        num_envs=envs,
        num_threads=len(work["cores"]),
        thread_affinity_offset=min(work["cores"]),
        seed=work["seed"],
    )
    space, draws = env.action_space, np.random.default_rng(work["seed"])
    actions = draws.uniform(space.low, space.high, (length, envs, *space.shape))
    env.reset()
    start_s = time.perf_counter() - began
    done: list[Iteration] = []
    while len(done) <= work["warmup"] or sum(item.wall for item in done) < work["seconds"]:
        (wall, cpu), wasted = now(), 0
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            wasted += int(np.sum(terminated | truncated))  # the next row of these only resets
        wall_end, cpu_end = now()
        spent = (wall_end - wall, cpu_end - cpu, wall_end - wall, 0.0)
        done.append(Iteration(envs * length - wasted, *spent))
    found = versions("envpool", "gymnasium", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
