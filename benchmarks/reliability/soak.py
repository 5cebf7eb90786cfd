"""PPO and TRPO for a long time, with faults planted: nothing may grow.

    python benchmarks/reliability/soak.py [--minutes 30] [--leak memory] [--out FOLDER]

Both train in turn in one process, each with environments in processes of their own, which another
thread kills or stops now and then. Writes ``soak.md``, ``soak.json`` and ``soak.png`` into
``results`` (a run with a planted leak only where ``--out`` says); ``soak_verdict.py`` has the rule.
Exits with 1 where something grew.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import soak_verdict
from troubled import CALM, TROUBLED, register

sys.path.append(str(Path(__file__).parents[1]))

SAVE_S, EVALUATE_S = 5.0, 10.0
STEP_LIMIT_S = 2.0
LEAK_BYTES = 4096
"""What a planted leak keeps of every episode."""
ALGORITHMS = ("ppo", "trpo")
NUM_ENVS = 3


class Trainee:
    """One run, advanced as the training loop does: metrics, checkpoints, evaluations."""

    def __init__(self, algo: str, folder: Path) -> None:
        from klamp.config.presets import configure
        from klamp.runs.metrics_log import MetricsLog
        from klamp.training.checkpointing import Saver
        from klamp.training.iteration import start

        settings = {
            "steps": 10**12,
            "num_envs": NUM_ENVS,
            "rollout_length": 128,
            "hidden_sizes": (16,),
            "vectorization": "async",
            "step_limit_s": STEP_LIMIT_S,
            "keep_checkpoint_every": 0,
        }
        folder.mkdir()
        self.config = configure(TROUBLED, algo, settings)
        self.run, self.state = start(self.config)
        self.run.position()
        self.run.compile(self.state)
        self.saver, self.log = Saver(self.config, folder), MetricsLog(folder / "metrics.jsonl")
        self.saved = self.evaluated = time.monotonic()
        self.counts = dict.fromkeys(("updates", "refused", "checkpoints", "evaluations"), 0)

    def advance(self) -> None:
        """One iteration and what is due after it."""
        from klamp.evaluation.evaluate import evaluate
        from klamp.training.iteration import Boundary

        self.state, metrics = self.run.advance(self.state)
        self.log.append({"step": int(self.state.step)} | metrics)
        self.counts["updates"] += 1
        self.counts["refused"] += metrics["outcome"] == "NON_FINITE"
        now = time.monotonic()
        if now - self.saved > SAVE_S:
            self.counts["checkpoints"] += self.saver.save(Boundary(self.state, self.run.position()))
            self.saved = now
        if now - self.evaluated > EVALUATE_S:
            evaluate(self.run.policy(self.state), CALM, episodes=2)
            self.counts["evaluations"] += 1
            self.evaluated = now

    @property
    def episodes(self) -> int:
        """Episodes that have ended."""
        return int(self.state.episodes.finished)

    def worker(self, index: int) -> psutil.Process:
        """The process of one environment."""
        return psutil.Process(self.run.environments.copies._processes[index].pid)

    def close(self) -> None:
        """Free everything."""
        self.log.close()
        self.run.close()


def harm(
    trainees: list[Trainee], done: threading.Event, mean_s: float, seed: int, planted: list[int]
) -> None:
    """Kill or stop a worker now and then; ``planted`` gets the number of each signal.

    Never the first of a run, in which a leak shows; and none of a run before it has made an update
    since its last fault: a worker that is killed again while it is being replaced, three times
    over, ends the run, as it should.
    """
    draw = random.Random(seed)
    last = [-2] * len(trainees)
    while not done.wait(draw.expovariate(1 / mean_s)):
        chosen, index = draw.randrange(len(trainees)), draw.randrange(1, NUM_ENVS)
        number = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
        trainee = trainees[chosen]
        # The update under way when the fault came does not count.
        if trainee.counts["updates"] <= last[chosen] + 1:
            continue
        try:
            os.kill(trainee.run.environments.copies._processes[index].pid, number)
        except (AttributeError, ValueError, ProcessLookupError):
            continue  # it was too slow, and is being replaced
        last[chosen] = trainee.counts["updates"]
        planted.append(int(number))


class Meter:
    """Readings of this process and its children."""

    def __init__(self, trainees: list[Trainee]) -> None:
        self._trainees, self._self = trainees, psutil.Process()
        self._began = self._last = time.monotonic()
        self._steps, self._cpu = 0, self._processor_s()

    def _processor_s(self) -> float:
        times = self._self.cpu_times()
        return times.user + times.system

    def read(self) -> soak_verdict.Sample:
        """All that is watched, now."""
        now, cpu = time.monotonic(), self._processor_s()
        steps = sum(int(each.state.step) for each in self._trainees)
        spared = [each.worker(0) for each in self._trainees]
        rss = self._self.memory_info().rss
        sample = {
            "time_s": now - self._began,
            "parent_rss": rss,
            "spared_uss": sum(each.memory_full_info().uss for each in spared),
            "total_rss": rss + sum(_resident(each) for each in self._self.children(recursive=True)),
            "handles": self._self.num_fds(),
            "worker_handles": sum(each.num_fds() for each in spared),
            "threads": self._self.num_threads(),
            "shared": _shared_mappings(),
            "dev_shm": len(os.listdir("/dev/shm")),
            "episodes": sum(each.episodes for each in self._trainees),
            "steps": steps,
            "speed": (steps - self._steps) / max(now - self._last, 1e-9),
            "speed_cpu": (steps - self._steps) / max(cpu - self._cpu, 1e-9),
        }
        self._last, self._steps, self._cpu = now, steps, cpu
        return {name: float(value) for name, value in sample.items()}


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _shared_mappings() -> int:
    """Mappings of files under /dev/shm, those without a name any more included."""
    return sum("/dev/shm/" in line for line in Path("/proc/self/maps").read_text().splitlines())


class Leak:
    """What a planted leak of this process keeps, or opens, and never lets go."""

    def __init__(self, kind: str | None) -> None:
        self._kind, self._episodes = kind, 0
        self._kept: list[Any] = []

    def grow(self, episodes: int, reading: int) -> None:
        """Called between iterations; ``reading`` counts the samples so far."""
        if self._kind == "memory":
            self._kept += [os.urandom(LEAK_BYTES) for _ in range(episodes - self._episodes)]
            self._episodes = episodes
        elif self._kind == "handles" and reading > len(self._kept):
            self._kept.append(open(os.devnull))  # noqa: SIM115 - never closed is the point
        elif self._kind == "threads" and reading > len(self._kept):
            self._kept.append(threading.Thread(target=threading.Event().wait, daemon=True))
            self._kept[-1].start()


def soak(
    trainees: list[Trainee],
    minutes: float,
    every_s: float,
    leak: Leak,
    samples: list[soak_verdict.Sample],
) -> None:
    """Train them in turn; the readings go into ``samples``, which an error leaves as they are."""
    meter = Meter(trainees)
    began = time.monotonic()
    while time.monotonic() - began < 60 * minutes:
        for each in trainees:
            each.advance()
        leak.grow(sum(each.episodes for each in trainees), len(samples))
        if time.monotonic() - began >= every_s * (len(samples) + 1):
            samples.append(meter.read())
            last = samples[-1]
            if len(samples) % max(int(60 / every_s), 1) == 0:
                print(
                    f"{last['time_s'] / 60:5.1f} min: {last['parent_rss'] / 2**20:.1f} MB, workers "
                    f"{last['spared_uss'] / 2**20:.1f} MB, {last['handles']:.0f} handles, "
                    f"{last['threads']:.0f} threads, {last['speed']:.0f} steps/s",
                    flush=True,
                )


def left_over(handles_before: int) -> list[str]:
    """What is still there two seconds after everything was closed."""
    time.sleep(2)
    # The fork server lives as long as this process; what it started are the workers.
    children = psutil.Process().children(recursive=True)
    found = [f"process {each.pid}" for each in children if each.ppid() != os.getpid()]
    found += [f"/dev/shm/{name}" for name in os.listdir("/dev/shm") if f"-{os.getpid()}-" in name]
    # A worker has a pipe and a sentinel, a run the file of its metrics.
    due = len(ALGORITHMS) * (2 * NUM_ENVS + 1)
    given_back = handles_before - psutil.Process().num_fds()
    found += [f"{due - given_back} handles"] if given_back < due else []
    return [f"left over after the end: {each}" for each in found]


def main() -> int:
    """Train, read, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=10, help="seconds between two readings")
    parser.add_argument("--leak", choices=("memory", "workers", "handles", "threads"))
    parser.add_argument("--kill-every", type=float, default=10, help="seconds, on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    import harness

    from klamp.errors import KlampError

    warnings.simplefilter("ignore")
    register(LEAK_BYTES if given.leak == "workers" else 0)
    with tempfile.TemporaryDirectory() as place:
        trainees = [Trainee(algo, Path(place) / algo) for algo in ALGORITHMS]
        done = threading.Event()
        planted: list[int] = []
        parts = (trainees, done, given.kill_every, given.seed, planted)
        thread = threading.Thread(target=harm, args=parts, daemon=True)
        thread.start()
        samples: list[soak_verdict.Sample] = []
        remains: list[str] = []
        try:
            soak(trainees, given.minutes, given.every, Leak(given.leak), samples)
        except KlampError as error:
            remains.append(f"ended before its time: {error}")
        done.set()
        thread.join()
        counts = {
            name: sum(each.counts[name] for each in trainees) for name in trainees[0].counts
        } | {
            "steps": int(samples[-1]["steps"]),
            "killed": planted.count(signal.SIGKILL),
            "stopped": planted.count(signal.SIGSTOP),
            "healed": sum(each.run.environments.healed for each in trainees),
        }
        for each in trainees:
            each.close()
        remains += left_over(int(samples[-1]["handles"]))
    wrong = soak_verdict.failures(samples, remains)
    found: dict[str, Any] = {
        "command": " ".join(["python benchmarks/reliability/soak.py", *sys.argv[1:]]),
        "commit": harness.provenance()["commit"],
        "machine": _machine(),
        "leak": given.leak,
        "sample_s": given.every,
        "save_s": SAVE_S,
        "evaluate_s": EVALUATE_S,
        "counts": counts,
        "at_the_end": remains,
        "failures": wrong,
        "samples": [{k: round(v, 3) for k, v in sample.items()} for sample in samples],
    }
    out = given.out or (None if given.leak else harness.RESULTS)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        harness.write(out / "soak.json", json.dumps(found) + "\n")
        harness.write(out / "soak.md", soak_verdict.page(found))
        soak_verdict.plot(samples, out / "soak.png")
    print(f"{counts}\n{'passed' if not wrong else 'NOT PASSED: ' + '; '.join(wrong)}", flush=True)
    return int(bool(wrong))


def _machine() -> str:
    import harness

    facts = harness.machine()
    load = facts["load_before"]
    return f"{facts['processor']} ({facts['cores']} core, load {load} at the end)"


if __name__ == "__main__":
    sys.exit(main())
