"""Sampling beside ``generate`` of transformers: one checkpoint, one core, alternating.

    python benchmarks/lm/beside_transformers.py --peer PYTHON [--repeats 5]

``PYTHON`` is that of an environment with torch and transformers. In each repeat both sample in a
process of their own, the order turning: one call to warm up, then the median of many. A ratio is
taken within a repeat. Written to `results/lm_generation.md`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, cores, environment, machine, provenance, write

CASES = [
    ("256 completions of 6 tokens (the task `sort`)", 256, 7, 6),
    ("1,024 completions of 6 tokens", 1024, 7, 6),
    ("256 completions of 64 tokens", 256, 16, 64),
    ("one completion of 64 tokens", 1, 16, 64),
]
"""What, rows, tokens of the prompt, new tokens."""
SECONDS = 4.0
"""Of each case in each process, at least three calls."""


def checkpoint(folder: Path) -> None:
    """A decoder of the built-in tasks, about 75,000 parameters, with random weights."""
    import jax

    from klamp.lm.networks.pretrained import Pretrained
    from klamp.lm.networks.untrained import random_decoder
    from klamp.lm.tasks.builtin import small_decoder

    Pretrained(random_decoder(small_decoder(16, context=128), jax.random.key(0))).save(folder)


def with_klamp(folder: str) -> Callable[[int, int, int], Callable[[int], Any]]:
    """What makes a call of klamp's sampler."""
    import jax
    import jax.numpy as jnp

    from klamp.lm.networks.generation import Sampling, TurnLimits, generate
    from klamp.lm.networks.pretrained import load_pretrained

    decoder = load_pretrained(folder).decoder

    def case(rows: int, prompt: int, new: int) -> Callable[[int], Any]:
        tokens = jax.random.randint(jax.random.key(1), (rows, prompt), 1, 16)
        parts = (tokens, tokens > 0)
        limits, numbers = TurnLimits(new), jnp.arange(rows)
        return lambda call: jax.block_until_ready(
            generate(decoder, *parts, jax.random.key(call), numbers, limits, Sampling())
        )

    return case


def with_transformers(folder: str) -> Callable[[int, int, int], Callable[[int], Any]]:
    """What makes a call of ``generate``."""
    import torch
    import transformers

    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def case(rows: int, prompt: int, new: int) -> Callable[[int], Any]:
        tokens = torch.randint(1, 16, (rows, prompt), generator=torch.Generator().manual_seed(1))
        options = {"attention_mask": torch.ones_like(tokens), "do_sample": True, "top_k": 0}

        def call(number: int) -> Any:
            torch.manual_seed(number)
            with torch.inference_mode():
                made = model.generate(tokens, max_new_tokens=new, min_new_tokens=new, **options)
            assert made.shape == (rows, prompt + new)
            return made

        return call

    return case


SYSTEMS = {"klamp": with_klamp, "transformers": with_transformers}


def worker(system: str, folder: str) -> dict[str, Any]:
    """Seconds of a call, for each case, and the largest memory that was resident."""
    case, found = SYSTEMS[system](folder), {}
    for name, *work in CASES:
        call, times = case(*work), []
        call(0)
        began = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            call(len(times) + 1)
            times.append(time.perf_counter() - start)
        found[name] = statistics.median(times)
    return found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", nargs=2)
    given = parser.parse_args()
    if given.worker:
        os.sched_setaffinity(0, {cores()[0]})
        print(json.dumps(worker(*given.worker)))
        return
    pythons = {"klamp": sys.executable, "transformers": given.peer}
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint(Path(scratch) / "model")
        for number in range(given.repeats):
            order = list(pythons) if number % 2 else list(pythons)[::-1]
            rounds.append({})
            for system in order:
                command = [pythons[system], __file__, "--worker", system, f"{scratch}/model"]
                told = environment(1, Path(scratch) / "cache")
                done = subprocess.run(command, env=told, stdout=subprocess.PIPE, check=True)
                rounds[-1][system] = json.loads(done.stdout.splitlines()[-1])
            print(rounds[-1], flush=True)
    write(RESULTS / "lm_generation.md", page(rounds))


def page(rounds: list[dict[str, Any]]) -> str:
    """Medians, and the median and range of the ratios."""
    lines = [
        "# Sampling beside transformers",
        "",
        "`python benchmarks/lm/beside_transformers.py --peer PYTHON`: one checkpoint of 75,136",
        "parameters in 2 layers, one core and thread, in turns; sampling with a cache, no top-k.",
        f"Tokens per second are medians of {len(rounds)} repeats, ratios of those of a repeat.",
        "",
        "| work | klamp, tokens/s | transformers, tokens/s | klamp is | range |",
        "|---|---|---|---|---|",
    ]
    for name, rows, _, new in CASES:
        speed = {
            system: statistics.median(rows * new / each[system][name] for each in rounds)
            for system in SYSTEMS
        }
        ratios = [each["transformers"][name] / each["klamp"][name] for each in rounds]
        lines.append(
            f"| {name} | {speed['klamp']:,.0f} | {speed['transformers']:,.0f} | "
            f"{statistics.median(ratios):.1f}× | {min(ratios):.1f} … {max(ratios):.1f} |"
        )
    memory = {s: statistics.median(each[s]["peak_mb"] for each in rounds) for s in SYSTEMS}
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    lines += [
        "",
        "Peak resident memory, MB: " + ", ".join(f"{s} {m:,.0f}" for s, m in memory.items()),
    ]
    return "\n".join([*lines, "", about, ""])


if __name__ == "__main__":
    main()
