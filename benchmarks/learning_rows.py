"""The rows of `learning.py`: what is trained, for how long, over which seeds, and what is wanted.

The peers' settings are those of RL Baselines3 Zoo (`hyperparams/ppo.yml` and `trpo.yml`, April
2026), in its own terms; the steps are klamp's, so that a row compares equal numbers of them.
"""

from dataclasses import dataclass, field
from typing import Any

from campaign import Job

CLASSIC, MUJOCO, OF_PEERS = range(10), range(5), range(3)
"""Seeds that are reported; those of tuning begin at 1000."""


@dataclass(frozen=True)
class Row:
    """One algorithm on one task."""

    env: str
    algo: str
    steps: int
    seeds: range
    wanted: float | None = None
    """The least mean over seeds of the return of the last 100 training episodes."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of klamp, over the preset's; of a peer, over its defaults."""
    system: str = "klamp"

    @property
    def over_preset(self) -> dict[str, Any]:
        """What a row of klamp sets over the preset; nothing of a peer."""
        return self.settings if self.system == "klamp" else {}

    @property
    def name(self) -> str:
        """What ``--rows`` matches."""
        given = (f"{name}={value}" for name, value in self.over_preset.items())
        system = () if self.system == "klamp" else (self.system,)
        return "-".join((self.env, self.algo, str(self.steps), *given, *system))

    @property
    def task(self) -> tuple[str, str, int]:
        """What rows have in common that are compared."""
        return self.env, self.algo, self.steps

    def jobs(self, seeds: range | list[int] | None = None, steps: int | None = None) -> list[Job]:
        """Its runs."""
        return [
            Job(self.system, self.env, self.algo, steps or self.steps, seed, self.settings)
            for seed in seeds or self.seeds
        ]


def _both(env: str, steps: int, seeds: range, ppo: float | None, trpo: float | None) -> list[Row]:
    return [Row(env, "ppo", steps, seeds, ppo), Row(env, "trpo", steps, seeds, trpo)]


def _peer(env: str, algo: str, steps: int, **settings: Any) -> Row:
    return Row(env, algo, steps, OF_PEERS, None, settings, "sb3")


KLAMP = (
    *_both("CartPole-v1", 100_000, CLASSIC, 500, 500),
    *_both("Acrobot-v1", 100_000, CLASSIC, -85, -85),
    *_both("Pendulum-v1", 100_000, CLASSIC, -180, -180),
    *_both("MountainCar-v0", 500_000, CLASSIC, -115, -115),
    *_both("MountainCarContinuous-v0", 100_000, CLASSIC, 90, 90),
    *_both("LunarLander-v3", 500_000, CLASSIC, 240, 240),
    *_both("LunarLanderContinuous-v3", 500_000, CLASSIC, 240, 240),
    *_both("BipedalWalker-v3", 1_000_000, CLASSIC, 280, 280),
    *_both("HalfCheetah-v5", 1_000_000, MUJOCO, 5_800, 5_500),
    *_both("Hopper-v5", 1_000_000, MUJOCO, 2_600, 3_100),
    *_both("Walker2d-v5", 1_000_000, MUJOCO, 3_600, 3_800),
    *_both("Ant-v5", 1_000_000, MUJOCO, 2_500, 2_900),
    *_both("Swimmer-v5", 1_000_000, MUJOCO, 280, 280),
    *_both("InvertedPendulum-v5", 300_000, MUJOCO, None, None),
    *_both("InvertedDoublePendulum-v5", 1_000_000, MUJOCO, None, None),
    *_both("Reacher-v5", 1_000_000, MUJOCO, None, None),
    *_both("Pusher-v5", 1_000_000, MUJOCO, None, None),
    *_both("Humanoid-v5", 1_000_000, MUJOCO, None, None),
    *_both("Pendulum-v1", 200_000, range(5), -250, -250),
    *_both("HalfCheetah-v5", 300_000, range(3), 800, 800),
    *(Row("CartPole-v1", algo, 150_000, CLASSIC, 475) for algo in ("npg", "ppo-kl")),
    *(Row("CartPole-v1", algo, 500_000, CLASSIC, 475) for algo in ("a2c", "reinforce")),
    Row("CartPole-v1", "trpo", 150_000, CLASSIC, 475, {"dropout": 0.1}),
)

_RELU_256 = {"activation_fn": "relu", "net_arch": [256, 256]}
_TRPO_MUJOCO: dict[str, Any] = {
    "n_envs": 2,
    "normalize": True,
    "n_steps": 1024,
    "batch_size": 128,
    "n_critic_updates": 20,
    "cg_max_steps": 25,
}

PEERS = (
    _peer(
        "CartPole-v1",
        "ppo",
        100_000,
        n_envs=8,
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        learning_rate="lin_0.001",
        clip_range="lin_0.2",
    ),
    _peer(
        "Pendulum-v1",
        "ppo",
        100_000,
        n_envs=4,
        n_steps=1024,
        gamma=0.9,
        learning_rate=1e-3,
        use_sde=True,
        sde_sample_freq=4,
    ),
    _peer(
        "LunarLander-v3",
        "ppo",
        500_000,
        n_envs=16,
        n_steps=1024,
        n_epochs=4,
        gamma=0.999,
        gae_lambda=0.98,
        ent_coef=0.01,
    ),
    _peer(
        "HalfCheetah-v5",
        "ppo",
        1_000_000,
        n_envs=1,
        normalize=True,
        n_steps=512,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.92,
        learning_rate=2.0633e-05,
        clip_range=0.1,
        ent_coef=0.000401762,
        max_grad_norm=0.8,
        vf_coef=0.58096,
        policy_kwargs=_RELU_256 | {"log_std_init": -2, "ortho_init": False},
    ),
    _peer(
        "Hopper-v5",
        "ppo",
        1_000_000,
        n_envs=1,
        normalize=True,
        n_steps=512,
        batch_size=32,
        n_epochs=5,
        gamma=0.999,
        gae_lambda=0.99,
        learning_rate=9.80828e-05,
        ent_coef=0.00229519,
        max_grad_norm=0.7,
        vf_coef=0.835671,
        policy_kwargs=_RELU_256 | {"log_std_init": -2, "ortho_init": False},
    ),
    _peer(
        "Walker2d-v5",
        "ppo",
        1_000_000,
        n_envs=1,
        normalize=True,
        n_steps=512,
        batch_size=32,
        n_epochs=20,
        learning_rate=5.05041e-05,
        clip_range=0.1,
        ent_coef=0.000585045,
        max_grad_norm=1,
        vf_coef=0.871923,
    ),
    _peer(
        "CartPole-v1",
        "trpo",
        100_000,
        n_envs=2,
        n_steps=512,
        batch_size=512,
        gae_lambda=0.98,
        n_critic_updates=20,
        cg_damping=1e-3,
    ),
    _peer(
        "Pendulum-v1",
        "trpo",
        100_000,
        n_envs=2,
        n_steps=1024,
        gamma=0.9,
        n_critic_updates=15,
        use_sde=True,
        sde_sample_freq=4,
    ),
    _peer(
        "LunarLander-v3",
        "trpo",
        500_000,
        n_envs=2,
        n_steps=512,
        gae_lambda=0.98,
        n_critic_updates=15,
        cg_damping=0.01,
    ),
    _peer("HalfCheetah-v5", "trpo", 1_000_000, **_TRPO_MUJOCO, target_kl=0.04),
    _peer("Hopper-v5", "trpo", 1_000_000, **_TRPO_MUJOCO),
    _peer("Walker2d-v5", "trpo", 1_000_000, **_TRPO_MUJOCO),
)

ROWS = (*KLAMP, *PEERS)

PUBLISHED = {
    ("CartPole-v1", "ppo"): "500 (zoo)",
    ("CartPole-v1", "trpo"): "500 (zoo)",
    ("Acrobot-v1", "ppo"): "−73.5 (zoo, 1M)",
    ("Acrobot-v1", "trpo"): "−83.1 (zoo)",
    ("Pendulum-v1", "ppo"): "−172 (zoo)",
    ("Pendulum-v1", "trpo"): "−175 (zoo)",
    ("MountainCar-v0", "ppo"): "−110 (zoo, 1M)",
    ("MountainCar-v0", "trpo"): "−107 (zoo, 100k)",
    ("MountainCarContinuous-v0", "ppo"): "88 (zoo, 20k)",
    ("MountainCarContinuous-v0", "trpo"): "93 (zoo, 50k)",
    ("LunarLander-v3", "ppo"): "242 (zoo, v2, 1M)",
    ("LunarLander-v3", "trpo"): "133 (zoo, v2, 200k)",
    ("LunarLanderContinuous-v3", "ppo"): "271 (zoo, v2, 1M)",
    ("LunarLanderContinuous-v3", "trpo"): "262 (zoo, v2, 200k)",
    ("BipedalWalker-v3", "ppo"): "288 (zoo, 5M)",
    ("BipedalWalker-v3", "trpo"): "182 (zoo)",
    ("HalfCheetah-v5", "ppo"): "5,784 ± 1,244 (Tianshou, v3, maximum); 1,443 ± 46 (CleanRL, v4)",
    ("HalfCheetah-v5", "trpo"): "4,471 ± 805 (Tianshou, v3, maximum)",
    ("Hopper-v5", "ppo"): "2,609 ± 701 (Tianshou, v3, maximum); 2,383 ± 272 (CleanRL, v4)",
    ("Hopper-v5", "trpo"): "2,046 ± 1,038 (Tianshou, v3, maximum); 3,056 (ChainerRL, v2, 2M)",
    ("Walker2d-v5", "ppo"): "3,589 ± 757 (Tianshou, v3, maximum); 2,288 ± 572 (CleanRL, v4)",
    ("Walker2d-v5", "trpo"): "3,827 ± 783 (Tianshou, v3, maximum); 3,260 (PFRL, v2, 2M)",
    ("Ant-v5", "ppo"): "3,258 ± 1,079 (Tianshou, v3, maximum)",
    ("Ant-v5", "trpo"): "2,867 ± 708 (Tianshou, v3, maximum)",
    ("Swimmer-v5", "ppo"): "282 (zoo, v3, γ 0.9999)",
    ("Swimmer-v5", "trpo"): "366 (zoo, v3, γ 0.9999)",
    ("InvertedPendulum-v5", "ppo"): "963 ± 22 (CleanRL, v4, 1M)",
    ("InvertedDoublePendulum-v5", "ppo"): "9,231 ± 270 (Tianshou, v2, maximum)",
    ("InvertedDoublePendulum-v5", "trpo"): "8,435 ± 1,073 (Tianshou, v2, maximum)",
    ("Reacher-v5", "ppo"): "−4.1 ± 0.3 (Tianshou, v2, maximum)",
    ("Reacher-v5", "trpo"): "−5.1 ± 0.8 (Tianshou, v2, maximum)",
    ("Pusher-v5", "ppo"): "−40 ± 7 (CleanRL, v4)",
    ("Humanoid-v5", "ppo"): "787 ± 194 (Tianshou, v3, maximum); 716 ± 49 (CleanRL, v4)",
    ("Humanoid-v5", "trpo"): "810 ± 126 (Tianshou, v3, maximum)",
}
"""Published results at 1M steps unless said; "maximum" is the best evaluation of each run."""
