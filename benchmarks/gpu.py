"""Fused training on an accelerator: environment steps per second, by number of environments.

``python benchmarks/gpu.py`` trains PPO on environments written in JAX (the extra `jaxenvs`) on the
GPU and writes `results/gpu.md`, with the name of the chip. ``--device cpu --quick`` tries the
command out where there is none, and writes nothing.
"""

import argparse
import json
import statistics
import time
from typing import Any

import harness

ROWS = (
    ("gymnax:CartPole-v1", 2_048, 128),
    ("gymnax:CartPole-v1", 16_384, 128),
    ("brax:ant", 2_048, 32),
    ("brax:ant", 8_192, 32),
)
"""Environment, how many of it, steps a rollout; 32 minibatches and 4 epochs each, 64×64 tanh."""


def main() -> None:
    """Measure row by row; write at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--quick", action="store_true", help="64 environments, one repeat")
    options = parser.parse_args()
    import jax

    from klamp.runtime.device import use_device

    use_device(options.device)
    chip = jax.devices(options.device)[0].device_kind
    found = []
    for env, envs, length in ROWS:
        count = 64 if options.quick else envs
        found.append(measure(env, count, length, 1 if options.quick else 5))
        print(json.dumps(found[-1]), flush=True)
    if not options.quick:
        about = (
            f"klamp at {harness.provenance().get('commit', '?')} on {chip}, jax {jax.__version__}"
        )
        harness.write(harness.RESULTS / "gpu.md", page(found, about))
        print((harness.RESULTS / "gpu.md").read_text(encoding="utf-8"))


def measure(env: str, envs: int, length: int, repeats: int) -> dict[str, Any]:
    """Steady steps per second: of at least a second each repeat, after three to warm up."""
    from klamp import PPO, RunConfig, Settings
    from klamp.training.iteration import start

    settings = Settings(
        steps=10**12,
        num_envs=envs,
        rollout_length=length,
        normalize_observation=True,
        advantage_normalization="minibatch",
    )
    config = RunConfig(env, PPO(epochs=4, minibatch_size=envs * length // 32), settings)
    run, state = start(config)
    compile_s = run.compile(state)
    for _ in range(3):
        state, _ = run.advance(state)
    speeds = []
    for _ in range(repeats):
        began, before = time.perf_counter(), int(state.step)
        while time.perf_counter() - began < 1:
            state, _ = run.advance(state)
        speeds.append((int(state.step) - before) / (time.perf_counter() - began))
    run.close()
    return {
        "env": env,
        "envs": envs,
        "length": length,
        "median": statistics.median(speeds),
        "range": (min(speeds), max(speeds)),
        "compile_s": compile_s,
    }


def page(found: list[dict[str, Any]], about: str) -> str:
    """`gpu.md`."""
    lines = [
        "# Fused training on a GPU",
        "",
        f"Made by `python benchmarks/gpu.py`: {about}. PPO, 4 epochs of 32 minibatches, 64×64 "
        "tanh; the whole iteration, collection and update; median and range of 5.",
        "",
        "| environment | environments × steps | env steps/s | range | compile |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in found:
        low, high = row["range"]
        lines.append(
            f"| {row['env']} | {row['envs']:,} × {row['length']} | {row['median']:,.0f} "
            f"| {low:,.0f} to {high:,.0f} | {row['compile_s']:.1f} s |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
