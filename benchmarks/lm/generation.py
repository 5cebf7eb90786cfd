"""Sampled tokens per second: ``python benchmarks/lm/generation.py``, on one core.

The small decoder of the built-in tasks (about 75,000 parameters, random weights); one warm call,
then the least and the median of many. Written to `results/lm_generation.md`.
"""

import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, environment, machine, provenance, write

CASES = [
    ("256 completions of 6 tokens (the task `sort`)", 256, 7, 6),
    ("1,024 completions of 6 tokens", 1024, 7, 6),
    ("256 completions of 64 tokens", 256, 16, 64),
    ("one completion of 64 tokens", 1, 16, 64),
]
REPEATS = 20


def measured(rows: int, prompt: int, new_tokens: int) -> tuple[float, float, float]:
    """Tokens per second, best and median, and the seconds to compile."""
    import jax
    import jax.numpy as jnp

    from klamp.lm.decoder import random_decoder
    from klamp.lm.generation import Sampling, TurnLimits, generate
    from klamp.lm.tasks.builtin import small_decoder

    decoder = random_decoder(small_decoder(16, context=128), jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (rows, prompt), 0, 16)
    valid, numbers, limits = tokens >= 0, jnp.arange(rows), TurnLimits(new_tokens)
    times: list[float] = []
    for repeat in range(REPEATS + 1):
        began = time.perf_counter()
        key = jax.random.key(repeat)
        jax.block_until_ready(generate(decoder, tokens, valid, key, numbers, limits, Sampling()))
        times.append(time.perf_counter() - began)
    counted = [rows * new_tokens / took for took in times[1:]]
    return max(counted), statistics.median(counted), times[0]


def main() -> None:
    if os.environ.get("KLAMP_GENERATION") != "1":
        # One core and one thread, set before anything imports JAX.
        variables = environment(1, Path("/tmp/klamp-generation")) | {"KLAMP_GENERATION": "1"}
        os.execve(sys.executable, [sys.executable, __file__], variables)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    said, told = machine(), provenance()
    lines = [
        "# Sampled tokens per second",
        "",
        "`python benchmarks/lm/generation.py`: one core, 75,136 parameters in 2 layers, sampling "
        f"with a cache; {REPEATS} calls of each. The rest of the machine was not idle where the "
        "median is far below the best.",
        "",
        "| work | best | median | first call, s |",
        "|---|---|---|---|",
    ]
    for name, *work in CASES:
        best, median, first = measured(*work)
        lines.append(f"| {name} | {best:,.0f} | {median:,.0f} | {first:.1f} |")
        print(lines[-1], flush=True)
    about = "; ".join(f"{key}: {value}" for key, value in (said | told).items())
    write(RESULTS / "lm_generation.md", "\n".join([*lines, "", about, ""]))


if __name__ == "__main__":
    main()
