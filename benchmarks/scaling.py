"""What many processes would do, from what two do: ``python benchmarks/scaling.py``, as root.

Three things are measured. How many sums over processes an update makes and how long their vectors
are, read from the compiled program; how long one sum takes, by its length, between two processes
over the loopback and over links of given delay and bandwidth (`delayed_link.py`), and between four
over the loopback; how long an iteration (rollout and update) takes by one process, and by two. From
these ``time = computing/P + Σ sums·(start(P) + length·rate(P))``, where Gloo's ring passes 2(P − 1)
messages of a P-th of the vector one after another: start(P) = (P − 1)·start(2) and rate(P) =
2(P − 1)/P·rate(2). Written to `results/scaling.json` (what is there is not measured again),
`scaling.md` and `docs/scaling.png`.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from delayed_link import ADDRESSES, command_in, link
from harness import RESULTS, ROOT, cores, machine, provenance, write
from launches import run, steps_per_second

FILE = RESULTS / "scaling.json"
LENGTHS = (1, 1_000, 10_000, 100_000, 1_000_000)
LINKS: dict[str, tuple[float, float] | None] = {
    "loopback": None,
    "0.1 ms, 1 Gbit/s": (1e-4, 1e9),
    "1 ms, 1 Gbit/s": (1e-3, 1e9),
    "10 ms, 1 Gbit/s": (1e-2, 1e9),
    "1 ms, 100 Mbit/s": (1e-3, 1e8),
}
BATCH = 2048
"""The steps of an iteration, by the presets."""
ALGORITHMS: dict[str, tuple[str, dict[str, int]]] = {
    "PPO": ("ppo", {}),
    "PPO, minibatches of 512": ("ppo", {"minibatch_size": 512}),
    "TRPO": ("trpo", {}),
    "TRPO, critic's minibatches of 512": ("trpo", {"critic_minibatch_size": 512}),
}
"""By their presets for HalfCheetah, or with one setting more."""
MORE_STEPS = {"num_envs": 16, "rollout_length": 512}
LARGE: dict[str, tuple[str, dict[str, int]]] = {
    "PPO, minibatches of 2,048": ("ppo", MORE_STEPS | {"minibatch_size": 2048}),
    "TRPO, critic's minibatches of 2,048": ("trpo", MORE_STEPS | {"critic_minibatch_size": 2048}),
    "TRPO, critic's minibatches of 8,192": (
        "trpo",
        {"num_envs": 16, "rollout_length": 2048, "critic_minibatch_size": 8192},
    ),
    "TRPO, 64 environments, critic's minibatches of 8,192": (
        "trpo",
        {"num_envs": 64, "rollout_length": 512, "critic_minibatch_size": 8192},
    ),
}
"""With 8,192 steps per iteration, and with 32,768."""
WIDTHS = (64, 256)
REPEATS = 5
EPOCHS, CG_ITERATIONS, SEARCH = 10, 10, 2
"""How often loops turn whose number the program does not hold; the last is a usual one."""


def sums_worker(index: int, count: int, address: str, lengths: list[int]) -> None:
    """Seconds of a sum over the processes, for each length; told by process 0."""
    import time

    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from klamp.runtime.joining import new_threads_wait

    os.sched_setaffinity(0, {cores()[index % len(cores())]})
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, count, index)
    with new_threads_wait():
        mesh = Mesh(np.array(jax.devices()), ("rows",))
    rows = NamedSharding(mesh, PartitionSpec("rows"))

    def seconds(length: int, times: int) -> float:
        def turn(_: int, x: Any) -> Any:
            return x * 0.5 + jax.lax.optimization_barrier(x.sum(0, keepdims=True)) * 1e-9

        def turns(x: Any) -> Any:
            return jax.lax.fori_loop(0, times, turn, x)

        program = jax.jit(turns, in_shardings=rows, out_shardings=rows)
        own = np.ones((1, length), np.float32)
        x = jax.make_array_from_process_local_data(rows, own, (count, length))
        program(x).block_until_ready()
        spent: list[float] = []
        for _ in range(3):
            began = time.perf_counter()
            program(x).block_until_ready()
            spent.append((time.perf_counter() - began) / times)
        return statistics.median(spent)

    for length in lengths:
        took = seconds(length, 100 if length <= 10_000 else 10)
        if index == 0:
            print(json.dumps({"length": length, "seconds": took}), flush=True)


def sums(count: int, how: str) -> list[list[float]]:
    """[length, seconds] of sums over so many processes."""
    shape = LINKS[how]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with link(*shape) if shape else nullcontext():
        host = ADDRESSES[0] if shape else "127.0.0.1"
        started: list[subprocess.Popen[str]] = []
        for index in range(count):
            own = [sys.executable, __file__, "--sums", str(index), str(count), f"{host}:{port}"]
            words = command_in(index, *own) if shape else own
            started.append(
                subprocess.Popen(
                    words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            )
        said = [process.communicate()[0] for process in started]
    told = [json.loads(line) for line in said[0].splitlines() if line.startswith("{")]
    assert len(told) == len(LENGTHS), said
    return [[each["length"], each["seconds"]] for each in told]


def fit(measured: list[list[float]]) -> tuple[float, float]:
    """(start, rate): seconds = start + rate·length, least squares of relative errors."""
    import numpy as np

    length, seconds = np.array(measured, float).T
    design = np.stack([np.ones_like(length), length], 1) / seconds[:, None]
    (start, rate), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
    return float(start), float(max(rate, 0.0))


def counted(name: str, width: int) -> dict[str, int]:
    """How often an update sums a vector of each length (as text, as JSON has it)."""
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, __file__, "--program", name, str(width)],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(collectives(done.stdout))


def print_program(name: str, width: int) -> None:
    """The compiled update of HalfCheetah, for two devices."""
    from klamp.config.presets import configure
    from klamp.training.iteration import start

    algorithm, settings = (ALGORITHMS | LARGE)[name]
    more = {"hidden_sizes": (width, width), "shards": 2}
    training, state = start(configure("HalfCheetah-v5", algorithm, settings | more))
    training.compile(state)
    print(training.learn.args[0].as_text())


def collectives(text: str) -> Counter[str]:
    """Sums by their length in a program, loops counted as often as they turn."""
    bodies: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.endswith("{") and "->" in line:
            name = line.removeprefix("ENTRY ").split()[0]
            bodies[name] = []
        else:
            bodies.setdefault(name, []).append(line)
    entry = next(line.split()[1] for line in text.splitlines() if line.startswith("ENTRY "))

    def own(name: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for line in bodies[name]:
            if " while(" in line:
                body = re.search(r"body=(%?[\w.\-]+)", line)
                inside = own(body[1]) if body else Counter[str]()
                turns = _turns(line, inside, bodies[body[1]] if body else [])
                total.update({length: number * turns for length, number in inside.items()})
            elif found := re.search(r"= (.*?) (?:all-reduce|all-gather)(?:-start)?\(", line):
                total.update(str(_size(shape)) for shape in re.findall(r"\[[\d,]*\]", found[1]))
        return total

    return own(entry)


def _turns(line: str, inside: Counter[str], body: list[str]) -> int:
    """How often a loop turns: as it says, or as its kind does."""
    if known := re.search(r'known_trip_count":\{"n":"(\d+)"', line):
        return int(known[1])
    if any(" while(" in each for each in body):
        return EPOCHS
    return CG_ITERATIONS if max(map(int, inside), default=0) > 1 else SEARCH


def _size(shape: str) -> int:
    size = 1
    for part in shape.strip("[]").split(","):
        size *= int(part) if part else 1
    return size


def updates(name: str, width: int, top: Path) -> dict[str, list[float]]:
    """Seconds of an iteration (rollout and update), by turns of one and two.

    One process has one core. Of two, each steps its environments as one group (``shards``).
    """
    words, steps = command(name, width)
    found: dict[str, list[float]] = {"1": [], "2": []}
    mine = sorted(os.sched_getaffinity(0))
    for repeat in range(REPEATS + 1):
        for count in (1, 2) if repeat % 2 else (2, 1):
            out = top / f"{name}-{width}-{count}-{repeat}".replace(" ", "")
            os.sched_setaffinity(0, set(mine[:count]))
            run(count, *words, "--shards", str(count), "--out", str(out))
            os.sched_setaffinity(0, mine)
            found[str(count)].append(steps / steps_per_second(out))
    return {count: seconds[1:] for count, seconds in found.items()}  # the first has compiled


def steps_of(name: str) -> int:
    """Environment steps of an iteration."""
    _, settings = (ALGORITHMS | LARGE)[name]
    return settings.get("num_envs", 1) * settings.get("rollout_length", BATCH)


def command(name: str, width: int) -> tuple[list[str], int]:
    """What trains it, and the steps of its iteration."""
    algorithm, settings = (ALGORITHMS | LARGE)[name]
    words = ["train", "HalfCheetah-v5", "--algo", algorithm]
    words += ["--hidden-sizes", str(width), str(width)]
    for setting, value in settings.items():
        words += [f"--{setting.replace('_', '-')}", str(value)]
    steps = steps_of(name)
    return [*words, "--quiet", "--steps", str(8 * steps)], steps


def side_by_side(name: str, width: int, top: Path) -> list[list[float]]:
    """Seconds of an iteration of one process alone, and of two that share nothing but the machine.

    Each has one core: what the two make together is the most that a launch of two can make.
    """
    words, steps = command(name, width)
    mine = sorted(os.sched_getaffinity(0))
    found: list[list[float]] = []
    for repeat in range(REPEATS + 1):
        seconds: list[float] = []
        for count in (1, 2):
            outs = [top / f"apart-{width}-{count}-{repeat}-{core}" for core in mine[:count]]
            started: list[subprocess.Popen[bytes]] = []
            for core, out in zip(mine, outs, strict=False):
                os.sched_setaffinity(0, {core})
                own = [sys.executable, "-m", "klamp", *words, "--out", str(out)]
                started.append(subprocess.Popen(own, stderr=subprocess.DEVNULL))
            os.sched_setaffinity(0, set(mine))
            assert {process.wait() for process in started} == {0}
            seconds += [steps / steps_per_second(out) for out in outs]
        found.append(seconds)
    return found[1:]  # the first has compiled


def keep(found: dict[str, Any], part: str, key: str, measure: Callable[[], Any]) -> None:
    """Measure what is not there, and write it down."""
    if key in found.setdefault(part, {}):
        return
    found[part][key] = measure()
    write(FILE, json.dumps(found, indent=1))
    print(part, key, found[part][key], flush=True)


def measure() -> dict[str, Any]:
    """All that is missing."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in (*ALGORITHMS, *LARGE):
        for width in WIDTHS:
            keep(found, "counts", f"{name}|{width}", lambda n=name, w=width: counted(n, w))
    for how in LINKS:
        keep(found, "sums", f"2|{how}", lambda h=how: sums(2, h))
    keep(found, "sums", "4|loopback", lambda: sums(4, "loopback"))
    with tempfile.TemporaryDirectory() as folder:
        for name in (*ALGORITHMS, *LARGE):
            for width in WIDTHS if name in ALGORITHMS else WIDTHS[-1:]:
                parts = (name, width, Path(folder))
                keep(found, "updates", f"{name}|{width}", lambda parts=parts: updates(*parts))
        apart = (next(iter(LARGE)), WIDTHS[-1], Path(folder))
        keep(found, "apart", f"{apart[0]}|{apart[1]}", lambda: side_by_side(*apart))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sums", nargs=3, metavar=("INDEX", "COUNT", "ADDRESS"))
    parser.add_argument("--program", nargs=2, metavar=("NAME", "WIDTH"))
    given = parser.parse_args()
    if given.sums:
        sums_worker(int(given.sums[0]), int(given.sums[1]), given.sums[2], list(LENGTHS))
    elif given.program:
        print_program(given.program[0], int(given.program[1]))
    else:
        from scaling_page import draw, page

        found = measure()
        about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
        write(RESULTS / "scaling.md", page(found, about))
        draw(found, ROOT / "docs" / "scaling.png")


if __name__ == "__main__":
    main()
