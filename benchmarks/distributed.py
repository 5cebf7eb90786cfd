"""Several processes beside one.

    python benchmarks/distributed.py [--kills N] [--terms N] [--language-kills N] [--numbers]
        [--float64] [--learning]

Each algorithm with each kind of network on two environments, by 1, 2 and 4 processes over the
loopback: θ after each of five updates, transitions, counters and episodes. With --kills, N launches
of which a random process is killed by SIGKILL at a random moment, and resumed to their end; with
--terms, N of which one is sent SIGTERM; with --language-kills, kills while a language model is
trained; with --numbers, a run that other numbers of processes go on
with; with --float64, the rows in which 32 bits leave more than 1e-5, computed in 64 bits; with
--learning, ten seeds by one and by two. What is done is not done again
(`results/distributed.jsonl`). How long updates take, `scaling.py` measures.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import distributed_exact
import distributed_faults
import distributed_learning
from harness import machine, provenance
from launches import TABLE, add, lines_of, rows

UPDATES = 5
CLOSE = 1e-5
"""The difference of θ, over the largest |θ|, up to which two numbers of processes agree."""
ALGORITHMS = ("reinforce", "a2c", "npg", "trpo", "ppo", "ppo-kl")
NETWORKS: dict[str, dict[str, Any]] = {
    "MLP": {},
    "recurrent": {"recurrent_size": 6, "sequence_length": 8},
    "shared trunk": {"shared_network": True},
    "dropout": {"dropout": 0.2},
}
ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1")
SHARED = {"num_envs": 8, "rollout_length": 32, "shards": 4, "hidden_sizes": (16, 16)}
EPOCHS = {
    "ppo": {"epochs": 2, "minibatch_size": 128},
    "ppo-kl": {"epochs": 2, "minibatch_size": 128},
}


def matrix() -> list[tuple[str, str, str]]:
    """Environment, algorithm and network of each row of the table."""
    return [(env, a, n) for env in ENVIRONMENTS for a in ALGORITHMS for n in NETWORKS]


def config_of(env: str, algo: str, network: str) -> Any:
    """The configuration of one run."""
    from klamp.config.presets import configure
    from klamp.errors import ConfigError

    batch = SHARED["num_envs"] * SHARED["rollout_length"]
    settings = SHARED | NETWORKS[network] | EPOCHS.get(algo, {})
    settings |= {"steps": UPDATES * batch, "checkpoint_interval": batch, "keep_checkpoint_every": 1}
    fits = {"critic_epochs": 2, "critic_minibatch_size": 128}
    for more in (fits, {}):
        try:
            return configure(env, algo, settings | more)
        except ConfigError as error:
            if "critic_" not in str(error):
                raise
    raise AssertionError


def work(index: int, count: int, port: int, top: Path) -> None:
    """All runs of the matrix, as one of so many processes."""
    from klamp.collection.shards import END
    from klamp.runtime.joined import ALONE
    from klamp.runtime.joining import Cluster, join, leave
    from klamp.runtime.signals import Signals
    from klamp.training.callbacks import gather
    from klamp.training.follow import follow
    from klamp.training.train import train_config

    joined: Any = ALONE
    if count > 1:
        joined = join(Cluster(f"127.0.0.1:{port}", count, index, 300.0, 120.0), {})
    for env, algo, network in matrix():
        out = top / f"{env}-{algo}-{network.replace(' ', '-')}-{count}"
        if (out / "done").exists():
            continue
        config, signals = config_of(env, algo, network), Signals()
        if count > 1:
            joined.heed(signals)
        if index:
            follow(config, joined, signals=signals)
        else:
            reporters = gather((), quiet=True)
            train_config(
                config,
                out=out,
                reporters=reporters,
                signals=signals,
                overwrite=True,
                processes=joined,
            )
            joined.lead(END)
            (out / "done").touch()
            print(out.name, flush=True)
    if count > 1:
        leave(joined, 0, "done")
        sys.stdout.flush()
        # As the command does: JAX's threads do not survive the interpreter's own way out.
        os._exit(0)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def run_matrix(counts: list[int], top: Path) -> None:
    """The matrix by each number of processes."""
    for count in counts:
        port = free_port()
        words = [sys.executable, __file__, "--top", str(top), "--work"]
        started = [
            subprocess.Popen([*words, str(index), str(count), str(port)]) for index in range(count)
        ]
        codes = [process.wait() for process in started]
        assert not any(codes), codes


def compare(top: Path, counts: list[int]) -> None:
    """A line of results for each run of several processes that is finished."""
    import numpy as np
    import safetensors.numpy

    done = {(row["env"], row["algo"], row["network"], row["processes"]) for row in rows("matrix")}

    def states(folder: Path) -> list[dict[str, Any]]:
        paths = sorted((folder / "checkpoints").glob("step_*/*.safetensors"))
        return [safetensors.numpy.load_file(path) for path in paths]

    for env, algo, network in matrix():
        name = f"{env}-{algo}-{network.replace(' ', '-')}"
        for count in counts:
            one, many = top / f"{name}-1", top / f"{name}-{count}"
            known = (env, algo, network, count) in done
            if count == 1 or known or not ((one / "done").exists() and (many / "done").exists()):
                continue
            pairs = list(zip(states(one), states(many), strict=True))
            theta = next(key for key in pairs[0][0] if "theta" in key)
            moved = [float(np.abs(b[theta] - a[theta]).max()) for a, b in pairs]
            size = [float(np.abs(a[theta]).max()) for a, _ in pairs]
            counted = ("step", "update", "episodes", "return_mean", "length_mean", "outcome")
            told = list(zip(lines_of(one), lines_of(many), strict=True))
            add(
                {
                    "kind": "matrix",
                    "env": env,
                    "algo": algo,
                    "network": network,
                    "processes": count,
                    "updates": len(pairs) - 1,
                    "theta": max(d / s for d, s in zip(moved, size, strict=True)),
                    "equal": all(a[key] == b[key] for a, b in told for key in counted),
                }
            )


def loose() -> list[tuple[str, str, str]]:
    """The rows of the matrix whose θ is farther from that of one process than `CLOSE`."""
    far = {(r["env"], r["algo"], r["network"]) for r in rows("matrix") if r["theta"] > CLOSE}
    return [key for key in matrix() if key in far]


def report() -> None:
    """The table."""
    lines = [
        "# Several processes beside one",
        "",
        "`python benchmarks/distributed.py`: five updates of 8 environments × 32 steps, 4 shards;",
        "the largest difference of θ from that of one process after any of them, over the largest",
        "|θ|; steps, updates, episodes, mean return and length, and outcomes of every update.",
        "",
        "| environment | algorithm | network | 2 processes | 4 processes | all else equal |",
        "|---|---|---|---|---|---|",
    ]
    found = {(r["env"], r["algo"], r["network"], r["processes"]): r for r in rows("matrix")}
    for key in matrix():
        two, four = (found.get((*key, count)) for count in (2, 4))
        shown = [f"{row['theta']:.1e}" if row else "–" for row in (two, four)]
        equal = all(row["equal"] for row in (two, four) if row)
        if two or four:
            lines.append(f"| {' | '.join([*key, *shown])} | {'yes' if equal else 'NO'} |")
    lines += distributed_exact.said()
    lines += distributed_faults.said() + distributed_learning.said()
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    lines += ["", about]
    TABLE.write_text("\n".join([*lines, ""]))


def main() -> None:
    """As the docstring of the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--terms", type=int, default=0)
    parser.add_argument("--language-kills", type=int, default=0)
    for name in ("report", "numbers", "float64", "learning"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--top", type=Path, default=Path(tempfile.gettempdir(), "klamp-distributed")
    )
    parser.add_argument("--work", type=int, nargs=3)
    given = parser.parse_args()
    if given.work:
        work(*given.work, given.top)
        return
    others = ("report", "kills", "terms", "language_kills", "numbers", "float64", "learning")
    if not any(getattr(given, name) for name in others):
        run_matrix(given.processes, given.top)
        compare(given.top, [1, 2, 4])
    distributed_faults.faults("kill", given.kills, given.top)
    distributed_faults.faults("term", given.terms, given.top)
    distributed_faults.faults("kill_language", given.language_kills, given.top)
    if given.numbers:
        distributed_faults.other_numbers(given.top)
    if given.float64:
        distributed_exact.measure(loose())
    if given.learning:
        distributed_learning.learning(given.top)
    report()


if __name__ == "__main__":
    main()
