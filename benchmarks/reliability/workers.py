"""Environment workers killed or stopped at random moments: healed, and no byte differs.

    python benchmarks/reliability/workers.py [--faults 100] [--seed 0]

PPO trains with three environments in processes of their own, while another thread kills (two of
three) or stops (one of three) a worker now and then. The run must come to the bytes of the one with
the same environments in one process. Writes ``results/workers.md``; exits with 1 where one differs.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from lives import PPO, Case, configuration

RESULTS = Path(__file__).parents[1] / "results" / "workers.md"
ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1", "HalfCheetah-v5", "Acrobot-v1")


def trained(env: str, vectorization: str, updates: int, harm: Any = None) -> tuple[Any, int]:
    """The state after some updates as bytes, and how many workers were replaced."""
    import jax
    import numpy as np

    from klamp.training.iteration import start

    limit = {"step_limit_s": 1.0} if vectorization == "async" else {}
    settings = PPO | {"vectorization": vectorization} | limit
    run, state = start(configuration(Case(env, "ppo", settings), 10**6))
    done = threading.Event()
    if harm is not None:
        threading.Thread(target=harm, args=(run.environments, done), daemon=True).start()
    for _ in range(updates):
        state, _ = run.advance(state)
    done.set()
    healed = run.environments.healed
    arrays = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
    run.close()
    return arrays, healed


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    draw = random.Random(given.seed)

    def harm(environments: Any, done: threading.Event) -> None:
        while not done.wait(draw.uniform(0.0, 0.3)):
            number = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
            before, copies = environments.healed, environments.copies
            process = copies._processes[draw.randrange(copies.num_envs)]
            os.kill(process.pid, number)
            # The next strike waits until this one has been healed.
            while environments.healed == before and not done.wait(0.05):
                pass
            done.wait(1.0)

    rows: dict[str, list[int]] = {env: [0, 0, 0] for env in ENVIRONMENTS}
    began, total = time.perf_counter(), 0
    while total < given.faults:
        for env in ENVIRONMENTS:
            expected, _ = trained(env, "sync", 20)
            found, healed = trained(env, "async", 20, harm)
            rows[env][0] += 1
            rows[env][1] += healed
            rows[env][2] += sum(a != b for a, b in zip(expected, found, strict=True))
            total += healed
            print(f"{env}: {healed} replaced, {rows[env][2]} arrays differ", flush=True)
    lines = [
        "# Workers",
        "",
        "Made by `python benchmarks/reliability/workers.py`: workers are killed (two of three) or",
        "stopped (one of three; noticed at the limit of 1 s) at random moments of training, and",
        "brought back by replay; the state is compared with that of a run in one process.",
        "",
        "| environment | runs | workers replaced | arrays that differ |",
        "|---|---|---|---|",
        *(f"| {env} | {a} | {b} | {c} |" for env, (a, b, c) in rows.items()),
        "",
        f"{total} workers replaced in {time.perf_counter() - began:.0f} s.",
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    return int(any(row[2] for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
