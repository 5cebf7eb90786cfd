"""Stable-Baselines3's time to a threshold, from the start of the process, at its tuned settings.

The settings are those of RL Baselines3 Zoo for PPO on CartPole-v1, its budget of 100,000 steps and
its linear schedules included. The threshold is on the mean return of the last 100 training
episodes, of which there must be 100.
"""

import statistics
from typing import Any

from systems.common import Measurement, Work, main, reached, versions

STEPS = 100_000


def linear(start: float) -> Any:
    """From ``start`` to 0 over the run."""
    return lambda remaining: remaining * start


def measure(work: Work) -> Measurement:
    """``learn`` until the threshold, looked at after each rollout."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(len(work["cores"]))
    found: Measurement = {}

    class Watch(BaseCallback):
        def _on_rollout_end(self) -> None:
            returns = [episode["r"] for episode in self.model.ep_info_buffer]
            if len(returns) == 100 and statistics.fmean(returns) >= work["threshold"]:
                found.update(reached(work, self.num_timesteps))

        def _on_step(self) -> bool:
            return not found

    model = PPO(
        "MlpPolicy",
        make_vec_env(work["env"], n_envs=8, seed=work["seed"]),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=linear(0.001),
        clip_range=linear(0.2),
        device="cpu",
        seed=work["seed"],
    )
    model.learn(total_timesteps=work.get("steps") or STEPS, callback=Watch())
    if not found:
        raise SystemExit(f"not reached within {model.num_timesteps:,} steps")
    libraries = versions("stable-baselines3", "torch", "gymnasium", "numpy")
    return found | {"versions": libraries}


if __name__ == "__main__":
    main(measure)
