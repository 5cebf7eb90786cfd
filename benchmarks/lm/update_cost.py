"""What an update costs beside PPO-clip's four epochs: ``python benchmarks/lm/update_cost.py``.

Sort six digits, 256 completions an update, on one core. All updates are compiled first; then each
is made in turn on its own completions, the order turning, and a ratio is taken within a round, of
processor seconds. Written to `results/lm_update_cost.md`.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, cores, environment, machine, provenance, write

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "PPO, clip": ("ppo", {"learning_rate": 1e-3}),
    "PPO, `max_kl` 0.01, drawn back": ("ppo", {"learning_rate": 1e-3, "max_kl": 0.01}),
    "PPO, `max_kl` 1, never drawn back": ("ppo", {"learning_rate": 1e-3, "max_kl": 1.0}),
    "TRPO, a quarter of the batch for the Fisher matrix": ("trpo", {"prompts": 256}),
    "TRPO, the same, 5 CG iterations": ("trpo", {"prompts": 256, "cg_iterations": 5}),
    "GRPO, clip": ("grpo", {}),
}
FIRST = "PPO, clip"


def prepared(folder: Path) -> dict[str, Any]:
    """For each case, a function that makes its update again."""
    import jax

    from klamp.lm.training.setup import configured, start
    from klamp.lm.training.sources import Sources

    found: dict[str, Any] = {}
    for number, (label, (preset, settings)) in enumerate(CASES.items()):
        given = settings | {"critic_warmup": 0} if preset != "grpo" else settings
        config = configured("sort", preset, given, Sources())
        place = folder / str(number)
        place.mkdir()
        run = start(config, place, Sources())
        state = run.fresh_state()
        run.compile(state)

        def call(run: Any = run, state: Any = state) -> str:
            # The completions are kept from call to call: this is the update alone.
            after, metrics = run.advance(state)
            jax.block_until_ready(after.theta)
            return str(metrics["outcome"])

        print(label, call(), flush=True)
        found[label] = call
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    if os.environ.get("KLAMP_UPDATE_COST") != "1":
        # One core and one thread, set before anything imports JAX.
        programs = Path(tempfile.gettempdir()) / "klamp-lm-programs"
        variables = environment(1, programs) | {"KLAMP_UPDATE_COST": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], variables)
    os.sched_setaffinity(0, {cores()[0]})
    with tempfile.TemporaryDirectory() as folder:
        calls = prepared(Path(folder))
    rounds: list[dict[str, float]] = []
    for number in range(given.repeats):
        order = list(calls)[number % len(calls) :] + list(calls)[: number % len(calls)]
        rounds.append({})
        for label in order:
            began = time.process_time()
            calls[label]()
            rounds[-1][label] = time.process_time() - began
    write(RESULTS / "lm_update_cost.md", page(rounds))
    print(page(rounds))


def page(rounds: list[dict[str, float]]) -> str:
    """Median milliseconds, and median and range of the ratios."""
    lines = [
        "# What an update of a language model costs",
        "",
        "`python benchmarks/lm/update_cost.py`: sort six digits, 256 completions of 6 tokens, one",
        "core; PPO's four epochs of four minibatches. Without the sampling; processor time, the",
        f"median of {len(rounds)} rounds, ratios within a round.",
        "",
        "| update | ms | of PPO's with the clip alone | range |",
        "|---|---|---|---|",
    ]
    for label in rounds[0]:
        ratios = [each[label] / each[FIRST] for each in rounds]
        lines.append(
            f"| {label} | {1000 * statistics.median(each[label] for each in rounds):.0f} | "
            f"{statistics.median(ratios):.2f}× | {min(ratios):.2f} … {max(ratios):.2f} |"
        )
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    return "\n".join([*lines, "", about, ""])


if __name__ == "__main__":
    main()
