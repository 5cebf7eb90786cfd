"""rejax PPO: its own training iteration, environment and update in one compiled program.

The environment is gymnax's CartPole-v1. Its loop is ``train_iteration`` again and again, so that is
what is called; its evaluations between the iterations are left out.
"""

import time
from typing import Any

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions
from systems.klamp import repeat


def measure(work: Work) -> Measurement:
    """What the work does not name stays at the library's defaults."""
    began = time.perf_counter()
    import jax
    from rejax import PPO

    batch = work["num_envs"] * work["rollout_length"]
    algorithm = PPO.create(
        env=work["env"],
        num_envs=work["num_envs"],
        num_steps=work["rollout_length"],
        num_epochs=work["epochs"],
        num_minibatches=batch // work["minibatch_size"],
        learning_rate=3e-4,
        max_grad_norm=0.5,
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": tuple(work["hidden_sizes"])},
    )
    state = algorithm.init_state(jax.random.PRNGKey(work["seed"]))
    advance = jax.jit(algorithm.train_iteration)
    start_s = time.perf_counter() - began

    def iterate(state: Any) -> tuple[Any, Iteration]:
        wall, cpu = now()
        state = jax.block_until_ready(advance(state))
        wall_end, cpu_end = now()
        return state, Iteration(batch, wall_end - wall, cpu_end - cpu, 0.0, 0.0)

    first, *timed = repeat(work, state, iterate)
    found = versions("rejax", "gymnax", "jax", "jaxlib", "flax", "numpy")
    result = measurement(start_s, first, timed) | {"versions": found}
    return result | {"not_split": "one compiled program"}


if __name__ == "__main__":
    main(measure)
