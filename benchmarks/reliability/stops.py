"""SIGTERM, SIGINT or SIGUSR1 at random moments: saved, said how to go on, gone within ten seconds.

    python benchmarks/reliability/stops.py [--signals 50] [--seed 0]

`klamp train` runs as a user would start it; at a random moment after its folder is there
(compiling, collecting, updating, saving) it is sent a signal, and then gone on with by
`klamp resume`, which is sent the next one. Every stop must leave with 128 + the signal's number
and a valid checkpoint, and every run must end with the bytes of one that was never stopped. Writes
``results/stops.md``; exits with 1 where something was not so.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lives import contents, differences

RESULTS = Path(__file__).parents[1] / "results" / "stops.md"
EACH = 10
"""Signals that one run is sent."""
RUN = ("CartPole-v1", "--steps", 1_000_000, "--checkpoint-interval", 20_000, "--seed", 3, "--quiet")


def command(*words: object) -> list[str]:
    """The command line of klamp."""
    return [sys.executable, "-m", "klamp", *map(str, words)]


def stop_once(
    words: list[str], folder: Path, number: int, after_s: float
) -> tuple[int, float, str]:
    """Start, wait, signal: the exit code, the seconds it took to leave, and what was said."""
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        while not list(folder.glob("checkpoints/step_*")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(after_s)
        process.send_signal(number)
        began = time.perf_counter()
        _, said = process.communicate(timeout=60)
        return process.returncode, time.perf_counter() - began, said


def main() -> int:
    """Run all, say how it went, write the table."""
    from klamp.runs.checkpoint import latest_checkpoint, verify

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    # A shell that starts this in the background ignores SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seconds: list[float] = []
    wrong: list[str] = []
    early = 0
    with tempfile.TemporaryDirectory() as place:
        calm = Path(place) / "calm"
        subprocess.run(command("train", *RUN, "--out", calm), check=True)
        expected = contents(calm)
        for run in range(-(-given.signals // EACH)):
            folder = Path(place) / f"run{run}"
            words = command("train", *RUN, "--out", folder)
            for _ in range(min(EACH, given.signals - run * EACH)):
                number = draw.choice((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))
                code, spent, said = stop_once(words, folder, number, draw.uniform(0.0, 3.0))
                seconds.append(spent)
                verify(latest_checkpoint(folder))
                # Before its first lines have run, Python leaves by the signal itself.
                early += code == -number or (code == 130 and "interrupted" in said)
                well = code == 128 + number and f"klamp resume {folder}" in said
                if not well and code != -number and "interrupted" not in said:
                    wrong.append(f"{number.name}: exit code {code}: {said[-200:]}")
                print(f"{len(seconds)}: {number.name}, {code}, {spent:.2f} s", flush=True)
                words = command("resume", folder, "--quiet")
            subprocess.run(words, check=True)
            wrong += differences(expected, contents(folder))
    lines = [
        "# Stops",
        "",
        f"Made by `python benchmarks/reliability/stops.py`: {len(seconds)} signals at random",
        f"moments of `klamp train` and `klamp resume`, {EACH} a run; each left a valid checkpoint.",
        "",
        f"Seconds from the signal to the exit: median {sorted(seconds)[len(seconds) // 2]:.2f}, "
        f"largest {max(seconds):.2f}.",
        f"{early} came while Python was starting, before there was anything to save. Exit code",
        "128 + signal, the line that says how to go on, and the final bytes of every run: "
        f"{len(wrong)} wrong.",
        *(f"- {what}" for what in wrong),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
