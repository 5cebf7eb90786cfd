"""Several processes beside one.

    python benchmarks/distributed.py [--kills N] [--terms N] [--report]

Each algorithm with each kind of network on two environments, by 1, 2 and 4 processes over the
loopback: θ after each of five updates, transitions, counters and episodes. With --kills, N launches
of which a random process is killed by SIGKILL at a random moment, and resumed to their end; with
--terms, N of which one is sent SIGTERM. What is done is not done again
(`results/distributed.jsonl`).
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results" / "distributed.jsonl", HERE / "results" / "distributed.md"
UPDATES = 5
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

    def lines(folder: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

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
            told = list(zip(lines(one), lines(many), strict=True))
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


TRAIN = [
    *("CartPole-v1", "--algo", "trpo", "--num-envs", "4", "--rollout-length", "32"),
    *("--critic-epochs", "1", "--critic-minibatch-size", "128", "--hidden-sizes", "8"),
    *("--steps", "5120", "--checkpoint-interval", "512", "--quiet"),
]
LIMIT_S = 10.0


def launched(*words: str) -> subprocess.Popen[str]:
    """`klamp launch` of two processes."""
    command = [sys.executable, "-m", "klamp", "launch", "--processes", "2", "--", *words]
    limits = ["--join-timeout-s", "120", "--lost-after-s", str(LIMIT_S)]
    return subprocess.Popen([*command, *limits], stderr=subprocess.PIPE, text=True)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that the launcher has started."""
    listed = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for path in listed for pid in path.read_text().split()]


def final(folder: Path) -> bytes:
    """What the last checkpoint holds."""
    (*_, last) = sorted((folder / "checkpoints").glob("step_*/*.safetensors"))
    return last.read_bytes()


def interrupted(kind: str, number: int, top: Path, whole: bytes, seconds: float) -> None:
    """A launch of which one process is killed, or asked to stop, and what becomes of it."""
    rng = random.Random(f"{kind} {number}")
    folder = top / f"{kind}-{number}"
    process = launched("train", *TRAIN, "--out", str(folder))
    while not (folder / "checkpoints").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(rng.random() * seconds)
    victims = children(process)
    row: dict[str, Any] = {"kind": kind, "number": number, "ended_before": len(victims) < 2}
    if len(victims) == 2:
        row["victim"] = rng.randrange(2)
        began = time.perf_counter()
        os.kill(victims[row["victim"]], signal.SIGKILL if kind == "kill" else signal.SIGTERM)
    _, said = process.communicate()
    if len(victims) == 2:
        row["seconds"] = time.perf_counter() - began
        row["code"] = process.returncode
        other = 1 - row["victim"]
        row["named"] = bool(
            re.search(rf"\[{other}\] klamp: Process {row['victim']} \(\d+ on ", said)
        )
        row["stopped"] = len(re.findall(r"\[\d\] klamp: .*SIGTERM", said))
    resumes = 0
    while not (folder / "summary.json").exists() and resumes < 3:
        again = launched("resume", str(folder), "--quiet")
        _, said = again.communicate()
        row["resumed"], resumes = again.returncode, resumes + 1
    add(row | {"equal": final(folder) == whole})


def faults(kind: str, count: int, top: Path) -> None:
    """So many launches that are interrupted at a random moment."""
    done = {row["number"] for row in rows(kind)}
    if set(range(count)) <= done:
        return
    whole = top / f"whole-{kind}"
    began = time.perf_counter()
    process = launched("train", *TRAIN, "--out", str(whole))
    while not (whole / "checkpoints").exists():
        time.sleep(0.05)
    started = time.perf_counter() - began
    assert process.wait() == 0
    seconds = time.perf_counter() - began - started
    for number in range(count):
        if number not in done:
            interrupted(kind, number, top, final(whole), seconds)


def rows(kind: str) -> list[dict[str, Any]]:
    """The results so far."""
    if not RESULTS.exists():
        return []
    return [row for row in map(json.loads, RESULTS.read_text().splitlines()) if row["kind"] == kind]


def add(row: dict[str, Any]) -> None:
    """One more result."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


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
    for kind, what in (("kill", "SIGKILL"), ("term", "SIGTERM")):
        each = [row for row in rows(kind) if "seconds" in row]
        if each:
            codes = sorted({row["code"] for row in each})
            longest = max(row["seconds"] for row in each)
            lines += [
                "",
                f"{what} at a random process of two, at a random moment: {len(each)} times.",
                f"Seconds until all had ended: at most {longest:.1f} (limit {LIMIT_S:g} + 10);",
                f"exit codes of the launcher {codes}; named by the other:",
                f"{sum(row['named'] for row in each)}; runs whose last checkpoint, after `resume`,",
                "is that of the run never interrupted, byte for byte:",
                f"{sum(row['equal'] for row in each)}.",
            ]
    TABLE.write_text("\n".join([*lines, ""]))


def main() -> None:
    """As the docstring of the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--terms", type=int, default=0)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--top", type=Path, default=Path(tempfile.gettempdir(), "klamp-distributed")
    )
    parser.add_argument("--work", type=int, nargs=3)
    given = parser.parse_args()
    if given.work:
        work(*given.work, given.top)
        return
    if not (given.report or given.kills or given.terms):
        run_matrix(given.processes, given.top)
        compare(given.top, [1, 2, 4])
    faults("kill", given.kills, given.top)
    faults("term", given.terms, given.top)
    report()


if __name__ == "__main__":
    main()
