"""Stable-Baselines3 PPO: its own ``learn`` loop, on the processor.

Over a DummyVecEnv, or over a SubprocVecEnv where the work says so.
"""

import time
from typing import Any

from systems.common import Marks, Measurement, Work, main, measurement, versions


def learn(model: Any, iterations: int, batch: int, marks: Marks) -> None:
    """Train the model's first iterations, with marks where a rollout begins and ends."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Callback(BaseCallback):
        def _on_rollout_start(self) -> None:
            marks.begin()

        def _on_rollout_end(self) -> None:
            marks.middle(batch)

        def _on_step(self) -> bool:
            return True

    model.learn(total_timesteps=iterations * batch, callback=Callback())


def measure_model(
    work: Work,
    kind: Any,
    began: float,
    own_policy: dict[str, Any] | None = None,
    **settings: Any,
) -> Measurement:
    """Warm up and measure an on-policy model of Stable-Baselines3 or sb3-contrib."""
    import torch
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    torch.set_num_threads(len(work["cores"]))
    model = kind(
        work.get("policy", "MlpPolicy"),
        make_vec_env(
            work["env"],
            n_envs=work["num_envs"],
            seed=work["seed"],
            vec_env_cls=SubprocVecEnv if work.get("processes") else DummyVecEnv,
        ),
        n_steps=work["rollout_length"],
        batch_size=work["minibatch_size"],
        # tanh is its default
        policy_kwargs={"net_arch": list(work["hidden_sizes"])} | (own_policy or {}),
        device="cpu",
        seed=work["seed"],
        **settings,
    )
    start_s, marks = time.perf_counter() - began, Marks()
    batch = work["num_envs"] * work["rollout_length"]
    learn(model, work["warmup"] + work["iterations"], batch, marks)
    done = marks.iterations()
    model.get_env().close()
    return measurement(start_s, done[0], done[work["warmup"] :])


def measure(work: Work) -> Measurement:
    """PPO; what the work does not name stays at the library's defaults."""
    began = time.perf_counter()
    from stable_baselines3 import PPO

    result = measure_model(work, PPO, began, n_epochs=work["epochs"])
    found = versions("stable-baselines3", "torch", "gymnasium", "numpy")
    return result | {"versions": found}


if __name__ == "__main__":
    main(measure)
