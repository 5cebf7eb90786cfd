"""Sweeps that are killed, and what the best of one is worth with seeds it was not tuned on.

    python benchmarks/sweep.py             # all parts; the extra `sweep` is needed
    python benchmarks/sweep.py --only postgres   # also PostgreSQL 15 or later, and psycopg

`best`: PPO on Acrobot-v1 for so few steps that the preset does badly; the command is killed by
SIGKILL at random moments and given again until it has ended. Preset and best are then trained with
seeds 0 to 4, which the sweep has never seen. `kills`: small sweeps with one worker, killed all the
way; their trials must have the settings and values of the sweep that was never killed. `postgres`:
four commands on one server, without a common folder, two of which are killed for good. Writes
``results/sweep.md``; exits with 1 where a trial is lost or has two results, or the best is worse.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import klamp
from klamp.training.sweep.plan import SweepPlan
from klamp.training.sweep.presence import presence_of
from klamp.training.sweep.study import Study, Trial, storage_of

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "sweep.md"
TASK, STEPS, TRIALS, SEEDS = "Acrobot-v1", 20_000, 20, 5
SMALL = """steps = 1024
num_envs = 2
rollout_length = 32
hidden_sizes = [8]
epochs = 2
minibatch_size = 32
checkpoint_interval = 256
"""
SPACE = """[learning_rate]
low = 1e-4
high = 1e-1
log = true

[discount]
values = [0.9, 0.99]
"""


def command(folder: Path, words: str) -> "subprocess.Popen[bytes]":
    """A sweep in a session of its own, so that all its processes can be killed at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "klamp", "sweep", *words.split(), "--quiet"],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )


def killed_until_done(
    folder: Path, words: str, between: tuple[float, float], most: int, draw: random.Random
) -> int:
    """Give a command again after each SIGKILL, at most so many; how many there were.

    The number is kept beside, for a benchmark that is itself interrupted.
    """
    count = folder / f"{words.rsplit(maxsplit=1)[-1]}.kills"
    kills = int(count.read_text()) if count.exists() else 0
    while True:
        running = command(folder, words)
        try:
            code = running.wait(draw.uniform(*between) if kills < most else None)
        except subprocess.TimeoutExpired:
            kills += 1
            count.write_text(str(kills))
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        else:
            assert code == 0, f"klamp sweep ended with {code}"
            return kills


def trials_of(plan: SweepPlan, out: Path, storage: str | None = None) -> list[Trial]:
    """What the storage holds."""
    url = storage_of(out, storage)
    presence = presence_of(url, out.name)
    try:
        return Study(url, out.name, plan, presence).trials()
    finally:
        presence.close()


def accounted(trials: list[Trial], wanted: int) -> str | None:
    """What is wrong with the account of all trials; None where each has one result."""
    if [trial.number for trial in trials] != list(range(wanted)):
        return f"{len(trials)} trials in place of {wanted}"
    open_still = [trial.number for trial in trials if not trial.ended]
    return f"trials {open_still} have no result" if open_still else None


def best(folder: Path) -> tuple[list[str], bool]:
    """The best of a killed sweep beside the preset, with fresh seeds."""
    words = f"{TASK} --trials {TRIALS} --steps {STEPS} --jobs 2 --out sweep"
    kills = killed_until_done(folder, words, (15.0, 45.0), 6, random.Random(0))
    found = klamp.sweep(TASK, trials=TRIALS, steps=STEPS, jobs=2, out=folder / "sweep", quiet=True)
    problem = accounted(found.trials, TRIALS)
    states = [trial.state for trial in found.trials]
    tuned = {name: found.best.settings[name] for name in found.plan.space}
    means: dict[str, list[float]] = {}
    for name, settings in (("preset", {}), ("best", tuned)):
        runs = klamp.train_seeds(
            TASK, "ppo", seeds=SEEDS, steps=STEPS, quiet=True, out=folder / name, **settings
        )
        means[name] = [klamp.evaluate(klamp.load(run), episodes=20).returns.mean() for run in runs]
    mean = {name: statistics.fmean(values) for name, values in means.items()}
    listed = {name: ", ".join(f"{value:.0f}" for value in values) for name, values in means.items()}
    lost = sum(trial.lost for trial in found.trials)
    lines = [
        f"## The best of {TRIALS} trials, PPO on {TASK}, {STEPS:,} steps",
        "",
        f"Killed {kills} times at random moments, and given again. "
        f"{states.count('complete')} trials complete, {states.count('pruned')} pruned, "
        f"{states.count('failed')} failed; {lost} went on after a worker's death. Account: "
        f"{problem or 'every trial has one result, none is lost'}.",
        "",
        f"| settings | tuning seed | return of 20 episodes, seeds 0 to {SEEDS - 1} | mean |",
        "|---|---|---|---|",
        f"| preset (trial 0) | {found.trials[0].value:.1f} | {listed['preset']} "
        f"| {mean['preset']:.1f} |",
        f"| best (trial {found.best.number}) | {found.best.value:.1f} | {listed['best']} "
        f"| {mean['best']:.1f} |",
        "",
        "What the best changes: "
        + ", ".join(
            f"{name} = {value}"
            for name, value in tuned.items()
            if value != found.trials[0].settings[name]
        )
        + ".",
        "",
    ]
    return lines, problem is None and mean["best"] >= mean["preset"]


def small_plan() -> SweepPlan:
    """The plan of the small sweeps."""
    from klamp.cli.config_file import read_config_file
    from klamp.config.search_space import from_toml, search_space

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "small.toml"
        path.write_text(SMALL)
        settings = read_config_file(path, "ppo").settings
    space = search_space("CartPole-v1", "ppo", from_toml(SPACE, "ppo", "space"))
    return SweepPlan("CartPole-v1", "ppo", space, settings)


def written(folder: Path) -> Path:
    """The two files of a small sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.toml").write_text(SMALL)
    (folder / "space.toml").write_text(SPACE)
    return folder


def kills(folder: Path) -> tuple[list[str], bool]:
    """Small sweeps, killed all the way, beside one that was not."""
    written(folder)
    words = "CartPole-v1 --trials 8 --config small.toml --space space.toml --jobs 1 --out {}"
    assert command(folder, words.format("calm")).wait() == 0
    calm = trials_of(small_plan(), folder / "calm")
    rows, right = [], True
    for number in range(2):
        draw = random.Random(number)
        count = killed_until_done(folder, words.format(f"k{number}"), (3.0, 14.0), 6, draw)
        trials = trials_of(small_plan(), folder / f"k{number}")
        problem = accounted(trials, 8)
        same = [trial._replace(lost=0) for trial in trials] == calm
        right = right and problem is None and same
        rows.append(f"| {number} | {count} | {problem or 'none'} | {'yes' if same else 'no'} |")
    lines = [
        "## Small sweeps, killed and continued",
        "",
        "Eight trials of PPO on CartPole-v1, one worker; SIGKILL of all processes at random times, "
        "from start-up on. A sweep with one worker that was killed tries what the one never killed "
        "tried, and finds the same values, to the last digit.",
        "",
        "| sweep | kills | lost or twice | settings and values as without kills |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    return lines, right


@contextlib.contextmanager
def server(folder: Path, port: int = 54329) -> Iterator[str]:
    """A PostgreSQL server of its own; its URL."""
    (programs,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    # PostgreSQL refuses to run as root.
    who = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    data = folder / "server"
    data.mkdir()
    if who:
        shutil.chown(data, "postgres")
    subprocess.run(
        [*who, programs / "initdb", "-D", data, "-U", "klamp", "-A", "trust"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
    control = [*who, programs / "pg_ctl", "-D", data, "-w"]
    subprocess.run(
        [*control, "-o", options, "-l", data / "log", "start"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        yield f"postgresql+psycopg://klamp@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )


def postgres(folder: Path) -> tuple[list[str], bool]:
    """Four commands on one server, two of which are killed for good."""
    folder.chmod(0o755)
    wanted = 16
    with server(folder) as url:
        words = f"CartPole-v1 --trials {wanted} --config small.toml --space space.toml --jobs 1"
        # As on machines without a common disk: equal names in different places.
        places = [written(folder / f"machine-{n}") for n in range(4)]
        running = [command(place, f"{words} --out shared --storage {url}") for place in places]
        for victim in running[:2]:
            while not any(
                (places[running.index(victim)] / "shared").glob("trials/*/*/config.json")
            ):
                time.sleep(0.1)
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()
        codes = [each.wait() for each in running[2:]]
        trials = trials_of(small_plan(), Path("shared"), url)
    problem = accounted(trials, wanted)
    lines = [
        "## Several machines: PostgreSQL",
        "",
        f"{wanted} trials, four commands with a worker each on one server, and no common folder; "
        "two were killed by SIGKILL in the middle of a trial and not given again. The others ended "
        f"with {codes}; {sum(trial.lost for trial in trials)} trials went on elsewhere after their "
        f"worker's death. Account: {problem or 'every trial has one result, none is lost'}.",
        "",
    ]
    return lines, problem is None and codes == [0, 0] and sum(t.lost for t in trials) >= 1


PARTS = {"best": best, "kills": kills, "postgres": postgres}


def main() -> int:
    """Run the parts, and write the page; parts that are not run keep their section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--folder", type=Path, help="where to work; given again, it goes on there")
    given = parser.parse_args()
    wanted = given.only or list(PARTS)
    head = "# Sweeps\n\nMade by `python benchmarks/sweep.py`.\n"
    there = RESULTS.read_text() if RESULTS.exists() else ""
    sections = {
        name: text
        for name, text in zip(PARTS, _sections(there), strict=False)
        if text and name not in wanted
    }
    right = True
    for name in wanted:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (given.folder or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            folder.parent.chmod(0o755)
            lines, good = PARTS[name](folder)
        sections[name] = "\n".join(lines)
        right = right and good
        print(sections[name], flush=True)
    RESULTS.write_text("\n".join([head, *(sections[name] for name in PARTS if name in sections)]))
    return 0 if right else 1


def _sections(text: str) -> list[str]:
    """The sections of a page that was written before, in the order of the parts."""
    titles = ("## The best of", "## Small sweeps", "## Several machines")
    parts = text.split("\n## ")
    return [
        next((f"## {part}" for part in parts if f"## {part}".startswith(title)), "")
        for title in titles
    ]


if __name__ == "__main__":
    sys.exit(main())
