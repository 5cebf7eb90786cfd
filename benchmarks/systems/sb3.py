"""Stable-Baselines3 PPO: its own ``learn`` loop over a DummyVecEnv, on the processor."""

import time
from typing import Any

from systems.common import Iteration, Measurement, Work, main, measurement, now, versions


def timings(model: Any, iterations: int, batch: int) -> list[Iteration]:
    """Time each of the model's first iterations, by marks where a rollout begins and ends."""
    from stable_baselines3.common.callbacks import BaseCallback

    begins: list[tuple[float, float]] = []
    middles: list[float] = []

    class Marks(BaseCallback):
        def _on_rollout_start(self) -> None:
            begins.append(now())

        def _on_rollout_end(self) -> None:
            middles.append(now()[0])

        def _on_step(self) -> bool:
            return True

    model.learn(total_timesteps=iterations * batch, callback=Marks())
    begins.append(now())
    return [
        Iteration(batch, end[0] - begin[0], end[1] - begin[1], middle - begin[0], end[0] - middle)
        for begin, middle, end in zip(begins[:-1], middles, begins[1:], strict=True)
    ]


def measure_model(work: Work, kind: Any, began: float, **settings: Any) -> Measurement:
    """Warm up and measure an on-policy model of Stable-Baselines3 or sb3-contrib."""
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    model = kind(
        "MlpPolicy",
        make_vec_env(work["env"], n_envs=work["num_envs"], seed=work["seed"]),
        n_steps=work["rollout_length"],
        batch_size=work["minibatch_size"],
        policy_kwargs={"net_arch": list(work["hidden_sizes"])},  # tanh is its default
        device="cpu",
        seed=work["seed"],
        **settings,
    )
    start_s = time.perf_counter() - began
    batch = work["num_envs"] * work["rollout_length"]
    all_of_them = timings(model, work["warmup"] + work["iterations"], batch)
    return measurement(start_s, all_of_them[0], all_of_them[work["warmup"] :])


def measure(work: Work) -> Measurement:
    """PPO; what the work does not name stays at the library's defaults."""
    began = time.perf_counter()
    from stable_baselines3 import PPO

    result = measure_model(work, PPO, began, n_epochs=work["epochs"])
    found = versions("stable-baselines3", "torch", "gymnasium", "numpy")
    return result | {"versions": found}


if __name__ == "__main__":
    main(measure)
