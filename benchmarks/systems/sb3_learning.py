"""One run of Stable-Baselines3 or sb3-contrib at settings in the terms of its zoo."""

import statistics
import time
from typing import Any

from systems.common import Measurement, Work, main, versions
from systems.klamp_learning import POINTS, best_of, columns, short, spread

OF_THE_ENVIRONMENT = ("n_envs", "normalize")
"""Settings of the zoo that are no arguments of the algorithm."""


def measure(work: Work) -> Measurement:
    """Train, then evaluate by the mode with frozen normalisation."""
    import sb3_contrib
    import stable_baselines3
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    given, curve = dict(work["settings"]), list[dict[str, Any]]()
    count, normalize = (given.pop(name, None) for name in OF_THE_ENVIRONMENT)

    class Watch(BaseCallback):
        episodes = 0

        def _on_rollout_end(self) -> None:
            returns = [episode["r"] for episode in self.model.ep_info_buffer]
            mean = statistics.fmean(returns) if returns else None
            curve.append(
                {"step": self.num_timesteps, "return_mean": mean, "episodes": self.episodes}
            )

        def _on_step(self) -> bool:
            self.episodes += int(self.locals["dones"].sum())
            return True

    def environments(copies: int, seed: int) -> Any:
        made = make_vec_env(work["env"], n_envs=copies, seed=seed)
        return VecNormalize(made, gamma=given.get("gamma", 0.99)) if normalize else made

    began = time.perf_counter()
    kind = {"ppo": stable_baselines3.PPO, "trpo": sb3_contrib.TRPO}[work["algo"]]
    envs = environments(count or 1, work["seed"])
    model = kind("MlpPolicy", envs, device="cpu", seed=work["seed"], **arguments(given))
    model.learn(total_timesteps=work["steps"], callback=Watch())
    wall, cpu = time.perf_counter() - began, time.process_time()
    tested = environments(1, work["seed"] + 10_000)
    if normalize:
        tested.obs_rms, tested.training, tested.norm_reward = envs.obs_rms, False, False
    # Its Monitor lies inside of the normalisation, and so tells raw returns.
    returns, _ = evaluate_policy(
        model, tested, work["episodes"], deterministic=True, return_episode_rewards=True
    )
    return {
        "return": short(curve[-1]["return_mean"]),
        "best": short(best_of([(each["episodes"], each["return_mean"]) for each in curve])),
        "evaluation": [short(float(each)) for each in returns],
        "steps": curve[-1]["step"],
        "episodes": curve[-1]["episodes"],
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "curve": columns(spread(curve, POINTS), ("step", "return_mean")),
        "versions": versions("stable-baselines3", "sb3-contrib", "torch", "gymnasium", "numpy"),
    }


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What the zoo writes as text, as the objects that are meant."""
    import torch

    found = dict(given)
    for name in ("learning_rate", "clip_range"):
        if isinstance(text := found.get(name), str):
            first = float(text.removeprefix("lin_"))
            found[name] = lambda left, first=first: left * first
    policy = dict(found.pop("policy_kwargs", {}))
    if "activation_fn" in policy:
        policy["activation_fn"] = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[
            policy["activation_fn"]
        ]
    return found | ({"policy_kwargs": policy} if policy else {})


if __name__ == "__main__":
    main(measure)
