"""What `learning.py` trains: for each experiment its runs, by what the rows are called."""

from typing import Any

Run = tuple[str, str, dict[str, Any]]
"""Task, preset, and what differs from their own settings."""

SORT: dict[str, Any] = {"steps": 61_440}
"""40 updates of 256 completions, from the supervised start of the task."""
BOUND: dict[str, Any] = {"max_kl": 0.01}
SURE: dict[str, Any] = {"supervised_steps": 400, "learning_rate": 1e-3}
"""A start that is nearly perfect, and a step size that is too large."""
LARGE: dict[str, Any] = {"prompts": 1024, "steps": 20 * 6144, "max_kl": 0.03}
"""20 updates of 1,024 completions."""
ADAPTED: dict[str, Any] = {"adapter_rank": 4}
"""Adapters alone are trained, from the usual start."""

EXPERIMENTS: dict[str, dict[str, Run]] = {
    "tasks": {
        "sort": ("sort", "ppo", {}),
        "addition": ("addition", "ppo", {}),
        "walks": ("walks", "ppo", {}),
        "guess": ("guess", "ppo", {}),
        "guess-32": ("guess-32", "ppo", {}),
        "memory": ("memory", "ppo", {}),
        "memory, GRPO": ("memory", "grpo", {}),
    },
    "step_sizes": {
        f"{label}, step size {size:g}": ("sort", "ppo", SORT | more | {"learning_rate": size})
        for size in (1e-4, 3e-4, 1e-3)
        for label, more in (("clip alone", {}), ("`max_kl` 0.01", BOUND))
    },
    "collapse": {
        "clip alone": ("sort", "ppo", SURE | {"steps": 22 * 1536}),
        "`max_kl` 0.01": ("sort", "ppo", SURE | BOUND | {"steps": 22 * 1536}),
        "`max_kl` 0.01, 10 warm-up updates": (
            "sort",
            "ppo",
            SURE | BOUND | {"critic_warmup": 10, "steps": 30 * 1536},
        ),
    },
    "adapters": {
        "PPO, rank 4, `max_kl` 0.01": (
            "sort",
            "ppo",
            ADAPTED | BOUND | {"steps": 25 * 1536, "learning_rate": 1e-3},
        ),
        "PPO, rank 4, `max_kl` 0.01, 1,024 completions": (
            "sort",
            "ppo",
            ADAPTED
            | BOUND
            | {
                "steps": 25 * 6144,
                "learning_rate": 1e-3,
                "prompts": 1024,
                "minibatch_size": 256,
            },
        ),
        "TRPO, rank 4, δ 0.01, 1,024 completions": (
            "sort",
            "trpo",
            ADAPTED | {"steps": 25 * 6144, "max_kl": 0.01},
        ),
        "TRPO, rank 4, δ 0.03, damping 0.01, 1,024 completions": (
            "sort",
            "trpo",
            ADAPTED | {"steps": 25 * 6144, "max_kl": 0.03, "damping": 0.01},
        ),
    },
    "updates": {
        "PPO": ("sort", "ppo", SORT),
        "PPO, `max_kl` 0.01": ("sort", "ppo", SORT | BOUND),
        "PPO with a penalty": ("sort", "ppo-kl", SORT),
        "GRPO": ("sort", "grpo", SORT),
        "GRPO, `max_kl` 0.01": ("sort", "grpo", SORT | BOUND),
        "TRPO, δ 0.01": ("sort", "trpo", SORT | {"prompts": 256, "max_kl": 0.01}),
        "TRPO, δ 0.01, 5 CG iterations": (
            "sort",
            "trpo",
            SORT | {"prompts": 256, "max_kl": 0.01, "cg_iterations": 5},
        ),
        "NPG, δ 0.01": ("sort", "npg", SORT | {"prompts": 256, "max_kl": 0.01}),
        "PPO, 1,024 completions": (
            "sort",
            "ppo",
            SORT | {"steps": LARGE["steps"], "prompts": 1024, "minibatch_size": 256},
        ),
        "PPO, `max_kl` 0.03, 1,024 completions": (
            "sort",
            "ppo",
            SORT | LARGE | {"minibatch_size": 256},
        ),
        "GRPO, `max_kl` 0.03, 1,024 completions": (
            "sort",
            "grpo",
            SORT | LARGE | {"prompts": 128, "minibatch_size": 256},
        ),
        "TRPO, δ 0.03, 1,024 completions": ("sort", "trpo", SORT | LARGE),
        "NPG, δ 0.03, 1,024 completions": ("sort", "npg", SORT | LARGE),
    },
    "reference": {
        f"walks, held to {target:g} nats": (
            "walks",
            "ppo",
            {"steps": 60_000, "reference_coefficient": 0.05, "reference_target": target},
        )
        for target in (0.3, 0.5)
    },
}
"""In the order of their worth."""
