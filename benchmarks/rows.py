"""What is measured: the systems, the rows of work, and who is compared with whom."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class System:
    """One worker in `systems/`, in one of its ways."""

    label: str
    module: str
    group: str
    """Whose interpreter runs it: a file of `requirements/`."""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """Put over the row's work."""
    warm: bool = False
    """Whether its compilation cache stays filled from one measurement to the next."""


SYSTEMS = {
    "klamp": System("klamp", "klamp", "klamp"),
    "sb3": System("Stable-Baselines3", "sb3", "torch"),
    "cleanrl": System("CleanRL's algorithm", "cleanrl", "torch"),
    "tianshou": System("Tianshou", "tianshou", "torch"),
    "skrl": System("skrl", "skrl", "torch"),
    "sb3_contrib": System("sb3-contrib", "sb3_contrib", "torch"),
    "sb3_recurrent": System("sb3-contrib's RecurrentPPO", "sb3_recurrent", "torch"),
    "bare": System("bare environment", "bare", "klamp"),
    "klamp_envpool": System(
        "klamp over EnvPool", "klamp", "klamp", {"own_env": "envpool:HalfCheetah-v5"}
    ),
    "sb3_processes": System(
        "Stable-Baselines3, a process per environment", "sb3", "torch", {"processes": True}
    ),
    "bare_envpool": System("bare EnvPool", "bare_envpool", "klamp"),
    "klamp_fused": System("klamp, fused", "klamp_fused", "fused"),
    "rejax": System("rejax", "rejax", "rejax"),
    "klamp_update": System("klamp", "klamp_update", "klamp"),
    "plain_jax": System("JAX, pytrees and plain scans", "plain_jax", "klamp"),
    "klamp_warm": System("klamp, warm cache", "klamp_threshold", "klamp", warm=True),
    "klamp_cold": System("klamp, cold cache", "klamp_threshold", "klamp"),
    "sb3_zoo": System("Stable-Baselines3, zoo settings", "sb3_threshold", "torch"),
    "klamp_together": System(
        "klamp, ten seeds at once", "klamp_seeds", "klamp", {"together": True}, warm=True
    ),
    "klamp_in_turn": System(
        "klamp, ten runs in turn", "klamp_seeds", "klamp", {"together": False}, warm=True
    ),
}


@dataclass(frozen=True)
class Goal:
    """What one system's speed is to be, as a multiple of another's."""

    ours: str
    theirs: str
    at_least: float | None = None
    """The median of the ratios must reach it; None: for information."""
    aim: float | None = None


@dataclass(frozen=True)
class Row:
    """One piece of work, and who does it."""

    name: str
    title: str
    systems: tuple[str, ...]
    goals: tuple[Goal, ...]
    kind: str = "training"
    """training: a steady state; update: what follows a rollout, alone; time: from the start of a
    process to the end of its task."""
    algorithm: str = "ppo"
    env: str = "CartPole-v1"
    num_envs: int = 8
    rollout_length: int = 256
    epochs: int = 10
    """Of PPO, or of the critic after a natural step."""
    minibatch_size: int = 64
    hidden_sizes: tuple[int, ...] = (64, 64)
    cg_iterations: int = 15
    cores: int = 1
    """How many cores, and threads in every library, each system has."""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """More for the workers of this row."""
    quick: dict[str, Any] = field(default_factory=dict[str, Any])
    """Put over the work by ``--quick``."""
    notes: tuple[str, ...] = ()


def against(
    peers: tuple[str, ...], at_least: float | None, aim: float | None, ours: str = "klamp"
) -> tuple[Goal, ...]:
    """One goal for each of several peers."""
    return tuple(Goal(ours, peer, at_least, aim) for peer in peers)


TRPO_PEERS = ("sb3_contrib", "tianshou", "skrl")
TIANSHOU_TRPO = (
    "Tianshou's TRPO has a fixed number of CG iterations and fits its critic on the whole batch; "
    "here its methods are overridden so that it does the row's work, after one such step."
)
PENDULUM = "For information: the same work with continuous actions, which skrl's TRPO needs."


def trpo(name: str, env: str, num_envs: int, length: int, at_least: float | None, note: str) -> Row:
    """TRPO at 15 CG iterations and 10 critic epochs of minibatch 64."""
    return Row(
        name=name,
        title=f"TRPO, {env}: {num_envs} environments × {length} steps, 15 CG iterations, "
        "10 critic epochs of minibatch 64, 64×64 tanh",
        systems=("klamp", *TRPO_PEERS),
        goals=against(TRPO_PEERS, at_least, None if at_least is None else 12),
        algorithm="trpo",
        env=env,
        num_envs=num_envs,
        rollout_length=length,
        notes=tuple(filter(None, (TIANSHOU_TRPO, note))),
    )


def halfcheetah(num_envs: int, length: int) -> Row:
    """PPO on HalfCheetah, stepped one environment after the other."""
    plural = "environment" if num_envs == 1 else "environments"
    return Row(
        name=f"ppo-halfcheetah-{num_envs}",
        title=f"PPO, HalfCheetah-v5: {num_envs} {plural} × {length} steps, 10 epochs, "
        "minibatch 64, 64×64 tanh",
        systems=("klamp", "sb3", "bare"),
        goals=(Goal("klamp", "sb3", 5), Goal("klamp", "bare", 0.6, 0.8)),
        env="HalfCheetah-v5",
        num_envs=num_envs,
        rollout_length=length,
    )


WIDE = Row(
    name="ppo-halfcheetah-wide",
    title="PPO, HalfCheetah-v5: 4 environments × 512 steps, 10 epochs, minibatch 64, 256×256 tanh",
    systems=("klamp", "sb3"),
    goals=(Goal("klamp", "sb3", 4),),
    env="HalfCheetah-v5",
    num_envs=4,
    rollout_length=512,
    hidden_sizes=(256, 256),
)
IMAGES = Row(
    name="ppo-images",
    title="PPO, images of 84×84×4: 8 environments × 128 steps, 4 epochs, minibatch 256, "
    "convolutions that policy and critic share",
    systems=("klamp", "sb3"),
    goals=(Goal("klamp", "sb3", 1.1, 1.5),),
    env="systems.noise_images:NoiseImages-v0",
    rollout_length=128,
    epochs=4,
    minibatch_size=256,
    hidden_sizes=(),
    extra={"policy": "CnnPolicy", "shared": True},
    notes=("The environment shows images that were drawn before, so that stepping is free.",),
)
RECURRENT = Row(
    name="ppo-cartpole-recurrent",
    title="PPO with memory, CartPole-v1: 8 environments × 128 steps, 10 epochs, minibatch 128, "
    "a GRU of 64 against an LSTM of 64, 64×64 tanh",
    systems=("klamp", "sb3_recurrent"),
    goals=(Goal("klamp", "sb3_recurrent", 20),),
    rollout_length=128,
    minibatch_size=128,
    extra={"recurrent_size": 64},
    notes=("Policy and critic share the cell, in both.",),
)


def fused(num_envs: int, length: int, minibatch: int, at_least: float) -> Row:
    """PPO on a CartPole written in JAX, collection and update in one program."""
    return Row(
        name=f"fused-cartpole-{num_envs}",
        title=f"PPO, CartPole-v1 written in JAX: {num_envs} environments × {length} steps, "
        f"10 epochs, minibatch {minibatch}, 64×64 tanh",
        systems=("klamp_fused", "rejax"),
        goals=(Goal("klamp_fused", "rejax", at_least, 2),),
        num_envs=num_envs,
        rollout_length=length,
        minibatch_size=minibatch,
    )


def seeds(cores: int) -> Row:
    """Ten seeds at once."""
    return Row(
        name=f"ten-seeds-{cores}-core{'s' if cores > 1 else ''}",
        title=f"Ten seeds of PPO on CartPole-v1, {cores} core{'s' if cores > 1 else ''}: at once, "
        "and one run after the other",
        systems=("klamp_together", "klamp_in_turn"),
        goals=(Goal("klamp_together", "klamp_in_turn", 2, 3),),
        kind="time",
        cores=cores,
        extra={"seeds": 10, "steps": 100_000},
        quick={"seeds": 2, "steps": 4_096},
    )


CARTPOLE_PEERS = ("cleanrl", "tianshou", "skrl")

ROWS = (
    Row(
        name="ppo-cartpole",
        title="PPO, CartPole-v1: 8 environments × 256 steps, 10 epochs, minibatch 64, 64×64 tanh",
        systems=("klamp", "sb3", *CARTPOLE_PEERS, "bare"),
        goals=(
            Goal("klamp", "sb3", 18, 20),
            *against(CARTPOLE_PEERS, 12, 20),
            Goal("klamp", "bare"),
        ),
    ),
    trpo("trpo-cartpole-2x1024", "CartPole-v1", 2, 1024, 8, ""),
    trpo("trpo-cartpole-8x512", "CartPole-v1", 8, 512, 8, ""),
    trpo("trpo-cartpole-8x256", "CartPole-v1", 8, 256, 9, ""),
    trpo("trpo-pendulum-8x256", "Pendulum-v1", 8, 256, None, PENDULUM),
    halfcheetah(1, 2048),
    halfcheetah(4, 512),
    WIDE,
    IMAGES,
    RECURRENT,
    Row(
        name="ppo-halfcheetah-envpool",
        title="PPO, HalfCheetah-v5, both cores: 8 environments × 256 steps, 10 epochs, "
        "minibatch 64, 64×64 tanh",
        systems=("klamp_envpool", "sb3", "sb3_processes", "bare_envpool"),
        goals=(
            *against(("sb3", "sb3_processes"), 8, 12, ours="klamp_envpool"),
            Goal("klamp_envpool", "bare_envpool"),
        ),
        env="HalfCheetah-v5",
        cores=2,
        notes=(
            "Stable-Baselines3 uses both cores by threads of PyTorch, or by processes that step "
            "the environments; the memory shown is that of its largest process.",
        ),
    ),
    fused(8, 256, 64, 1.3),
    fused(2048, 32, 2048, 1.5),
    Row(
        name="update",
        title="Update only, PPO of CartPole-v1's size: 2048 steps, 10 epochs, minibatch 64, "
        "64×64 tanh",
        systems=("klamp_update", "plain_jax"),
        goals=(Goal("klamp_update", "plain_jax", 1.5),),
        kind="update",
        notes=(
            "All that follows a rollout: values, old log-probabilities, advantages, the epochs; "
            "for klamp also the report of the update, such as its exact KL.",
        ),
    ),
    Row(
        name="time-to-475",
        title="Time from the start of the process until the last 100 training episodes of "
        "CartPole-v1 average 475, PPO",
        systems=("klamp_warm", "klamp_cold", "sb3_zoo"),
        goals=(Goal("klamp_warm", "sb3_zoo", 4, 6), Goal("klamp_cold", "sb3_zoo", 3, 6)),
        kind="time",
        extra={"threshold": 475},
        quick={"threshold": 15},
        notes=(
            "Each system at its own tuned settings: klamp's preset, and those of RL Baselines3 "
            "Zoo. A run that does not get there within its budget of 100,000 steps counts as none.",
        ),
    ),
    seeds(1),
    seeds(2),
)
