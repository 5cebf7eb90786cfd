"""The learning curve of Stable-Baselines3 PPO, or sb3-contrib TRPO, at the settings of the row."""

import statistics
from typing import Any

from systems.common import Measurement, Work, main, versions


def measure(work: Work) -> Measurement:
    """Train; the mean return of the last 100 training episodes after each rollout."""
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(len(work["cores"]))
    curve: list[tuple[int, float | None]] = []

    class Watch(BaseCallback):
        def _on_rollout_end(self) -> None:
            returns = [episode["r"] for episode in self.model.ep_info_buffer]
            curve.append((self.num_timesteps, statistics.fmean(returns) if returns else None))

        def _on_step(self) -> bool:
            return True

    common: dict[str, Any] = {
        "n_steps": work["rollout_length"],
        "batch_size": work["minibatch_size"],
        "policy_kwargs": {"net_arch": list(work["hidden_sizes"])},  # tanh is its default
        "device": "cpu",
        "seed": work["seed"],
    }
    envs = make_vec_env(work["env"], n_envs=work["num_envs"], seed=work["seed"])
    if work["algorithm"] == "ppo":
        model: Any = PPO("MlpPolicy", envs, n_epochs=work["epochs"], **common)
    else:
        epochs, cg = work["epochs"], work["cg_iterations"]
        model = TRPO("MlpPolicy", envs, n_critic_updates=epochs, cg_max_steps=cg, **common)
    model.learn(total_timesteps=work["steps"], callback=Watch())
    libraries = versions("stable-baselines3", "sb3-contrib", "torch", "gymnasium", "numpy")
    return {"curve": curve, "versions": libraries}


if __name__ == "__main__":
    main(measure)
