"""TRPO's step over a vocabulary: features and head beside plain logits, in memory and time.

``python benchmarks/lm/vocabulary.py`` measures each in a process of its own; processor time, so
that other work on the machine disturbs it little. Written to `results/lm_vocabulary.md`.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import RESULTS, machine, provenance, write

ACTIONS, HIDDEN = 1024, 16
CASES = [
    ("features", 32_768, 64, 3),
    ("logits", 32_768, 64, 3),
    ("features", 151_936, 64, 1),
]
"""What is kept, the vocabulary, the width, and how often the step is made."""


def measure(form: str, vocabulary: int, width: int, repeats: int) -> dict[str, Any]:
    """One step, compiled and then repeated, of a small policy in front of a frozen head."""
    import jax
    import jax.numpy as jnp

    import klamp
    from klamp import Batch, Categorical, Shared
    from klamp.lm.networks.vocabulary import VocabularyDistribution

    keys = jax.random.split(jax.random.key(0), 6)
    theta = {
        "a": jax.random.normal(keys[0], (width, HIDDEN)) / width**0.5,
        "b": 0.1 * jax.random.normal(keys[1], (HIDDEN, width)) / HIDDEN**0.5,
    }
    head = jax.random.normal(keys[2], (vocabulary, width)) * 2 / width**0.5
    x = jax.random.normal(keys[3], (ACTIONS, width))

    def features_of(theta: Any, x: Any) -> Any:
        return x + jnp.tanh(x @ theta["a"]) @ theta["b"]

    def features(theta: Any, inputs: Any) -> VocabularyDistribution:
        return VocabularyDistribution(features_of(theta, inputs[0]), inputs[1])

    def logits(theta: Any, inputs: Any) -> Categorical:
        return Categorical(features_of(theta, inputs[0]) @ inputs[1].value.T)

    policy, inputs = {"features": features, "logits": logits}[form], (x, Shared(head))
    action = jax.jit(lambda key: features(theta, inputs).sample(key))(keys[4])
    advantage = jax.random.normal(keys[5], (ACTIONS,))
    batch = Batch(inputs, action, advantage, jax.jit(policy)(theta, inputs))
    step = jax.jit(lambda theta, batch: klamp.trust_region_step(policy, theta, batch, sequence=1))
    began = time.perf_counter()
    compiled = step.lower(theta, batch).compile()
    compiling = time.perf_counter() - began
    times = []
    for _ in range(repeats):
        start = time.process_time()
        new, report = jax.block_until_ready(compiled(theta, batch))
        times.append(time.process_time() - start)
    return {
        "temporary_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6,
        "old_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(batch.old)) / 1e6
        - (head.nbytes / 1e6 if form == "features" else 0),
        "head_mb": head.nbytes / 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "seconds": min(times),
        "compile_s": compiling,
        "kl": float(report.kl),
        "theta": [part.ravel().tolist() for part in jax.tree.leaves(new)],
    }


def child(case: tuple[str, int, int, int]) -> dict[str, Any]:
    """The same in a process of its own."""
    arguments = ["--case", *map(str, case)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def page(results: list[dict[str, Any]]) -> str:
    """The results as a page."""
    first, plain = (results[CASES.index(case)] for case in CASES[:2])
    pairs = zip(first["theta"], plain["theta"], strict=True)
    apart = max(abs(a - b) for ours, its in pairs for a, b in zip(ours, its, strict=True))
    lines = [
        "# A vocabulary as features and head",
        "",
        f"One step of TRPO on {ACTIONS:,} actions: `VocabularyDistribution` (features) beside",
        "`Categorical` of the logits. Temporary memory is what the compiled program asks for; old",
        "is the distribution that a batch keeps; the peak is of the whole process. Seconds of",
        "processor time, the least of the repeats.",
        "",
        f"**{plain['temporary_mb'] / first['temporary_mb']:.0f} times less memory, "
        f"{plain['seconds'] / first['seconds']:.2f} times as fast; θ differs by {apart:.1e}.**",
        "",
        "| kept as | V | width | temporary, MB | old, MB | head, MB | peak, MB | step, s |"
        " compiling, s | KL |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (form, vocabulary, width, _), row in zip(CASES, results, strict=True):
        lines.append(
            f"| {form} | {vocabulary:,} | {width} | {row['temporary_mb']:,.0f} "
            f"| {row['old_mb']:.1f} | {row['head_mb']:.0f} | {row['peak_mb']:,.0f} "
            f"| {row['seconds']:.2f} | {row['compile_s']:.1f} | {row['kl']:.5f} |"
        )
    where = ", ".join(f"{name} {value}" for name, value in (provenance() | machine()).items())
    return "\n".join([*lines, "", f"`python benchmarks/lm/vocabulary.py`; {where}."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs=4)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.case:
        form, *numbers = arguments.case
        print(json.dumps(measure(form, *map(int, numbers))))
        return
    results = []
    for case in CASES:
        results.append(child(case))
        print(case, {k: v for k, v in results[-1].items() if k != "theta"}, flush=True)
    write(arguments.out / "lm_vocabulary.md", page(results))


if __name__ == "__main__":
    main()
