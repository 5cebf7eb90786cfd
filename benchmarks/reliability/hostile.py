"""10,000 hostile files under an audit hook: nothing is executed, imported, connected or written.

    python benchmarks/reliability/hostile.py [--inputs 10000] [--seed 0]

While one is loaded, Python reports to the hook whatever it opens, imports, compiles, executes,
starts, removes or connects to. Anything but reading a plain file of the run's own folder counts as
an event, and none may happen. Besides the inputs of ``fuzz.py``: every foreign file in place of
every file, links, pipes, devices and folders in their places, and files that are small to make and
large to read, each of which must be refused within 1 s of processor time, the process staying below
512 MB. Four controls, which do what is forbidden, must be seen. Writes ``results/hostile.md``;
exits with 1 where a rule was broken.
"""

import argparse
import contextlib
import json
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzz import (
    MEGABYTES,
    SECONDS,
    STEP,
    Case,
    drawn,
    lay_out,
    load,
    peak_megabytes,
    whole_checkpoint,
)
from hostile_files import MANIFEST, STATE, TENSORS, Files, bombs, foreign_files, sealed

RESULTS = Path(__file__).parents[1] / "results" / "hostile.md"
FORBIDDEN = (
    "compile", "exec", "import", "pickle.", "marshal.", "os.", "subprocess.", "socket.", "ctypes.",
    "shutil.", "tempfile.", "urllib.", "http.", "ftplib.", "code.", "cpython.", "mmap.", "pty.",
    "signal.", "sys.addaudithook", "sys.setprofile", "sys.settrace", "syslog.", "webbrowser.",
)  # fmt: skip
LISTING = ("os.listdir", "os.scandir")
READ_ONLY = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PLANTED = ("link to a file", "link to nothing", "link to itself", "pipe", "device", "folder",
           "hard link", "sparse file of 10 GB")  # fmt: skip


class Watch:
    """An audit hook that looks at what happens between ``watching`` and its end, and only then."""

    def __init__(self, place: Path) -> None:
        self._place = os.path.realpath(place)
        self._on = False
        self.events: Counter[str] = Counter()
        sys.addaudithook(self._seen)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look."""
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _seen(self, event: str, parts: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "open":
            path, mode, flags = parts
            inside = isinstance(path, int) or os.path.abspath(path).startswith(self._place + os.sep)
            written = any(c in (mode or "") for c in "wax+") or flags & READ_ONLY
            if not inside or written:
                self.events[f"open {path!r} {mode!r}"] += 1
        elif event in LISTING:
            if not os.path.abspath(parts[0]).startswith(self._place):
                self.events[f"{event} {parts[0]!r}"] += 1
        elif event.startswith(FORBIDDEN):
            self.events[f"{event} {str(parts)[:80]}"] += 1


def controls(watch: Watch, place: Path) -> list[str]:
    """What is forbidden, done on purpose; the names of those that the hook did not see."""
    forbidden: dict[str, Callable[[], Any]] = {
        "a pickle that calls os.system": lambda: pickle.loads(foreign_files(place / "c")["pickle"]),
        "an import": lambda: __import__("this_is_no_module"),
        "a file outside": lambda: open("/etc/hostname", "rb").close(),
        "a file written": lambda: (place / "run" / "new").write_bytes(b""),
    }
    unseen: list[str] = []
    for name, act in forbidden.items():
        with watch.watching(), contextlib.suppress(ImportError, OSError):
            act()
        if not watch.events:
            unseen.append(name)
        watch.events.clear()
    for left in (place / "c", place / "run" / "new"):
        left.unlink(missing_ok=True)
    return unseen


def plant(kind: str, file: Path, whole: bytes, outside: Path) -> None:
    """Something else in the place of a file."""
    file.unlink(missing_ok=True)
    outside.write_bytes(whole)
    match kind:
        case "link to a file":
            file.symlink_to(outside)
        case "link to nothing":
            file.symlink_to(outside.with_name("nothing"))
        case "link to itself":
            file.symlink_to(file)
        case "pipe":
            os.mkfifo(file)
        case "device":
            # Only root can make one of its own.
            os.mknod(file, 0o20666, os.makedev(1, 5)) if os.geteuid() == 0 else os.mkfifo(file)
        case "hard link":
            outside.write_bytes(b"a secret of another folder")
            file.hardlink_to(outside)
        case "folder":
            file.mkdir()
        case _:
            with file.open("wb") as sparse:
                sparse.truncate(10**10)


def remove(file: Path) -> None:
    """Take away what was planted."""
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)


class Trials:
    """Loads under the hook, and what came of them."""

    def __init__(self, place: Path) -> None:
        self.place, self.run = place, place / "run"
        self.run.mkdir()
        self.whole = whole_checkpoint(place / "whole")
        self.foreign = foreign_files(place / "canary")
        self.broken: list[str] = []
        self.rows: dict[str, Counter[str]] = {}
        self.slowest = 0.0
        # Whatever the loaders import, they have imported after these.
        for number in range(200):
            case = drawn(-1, number, self.whole, self.foreign)
            lay_out(case, self.run)
            load(case, self.run)
        self.watch = Watch(self.run)

    def take(self, row: str, case: Case, prepare: Callable[[], None] = lambda: None) -> None:
        """Load one input; ``prepare`` changes what was laid out."""
        lay_out(case, self.run)
        prepare()
        began = time.process_time()
        try:
            with self.watch.watching():
                outcome = load(case, self.run)
        except Exception as error:
            outcome = f"{type(error).__name__}: {str(error)[:200]}"
            self.broken.append(f"{row}: {outcome}")
        spent = time.process_time() - began
        self.slowest = max(self.slowest, spent)
        if spent > SECONDS:
            self.broken.append(f"{row}: {spent:.1f} s")
        self.rows.setdefault(row, Counter())[outcome] += 1

    def random(self, count: int, seed: int) -> None:
        """The inputs of ``fuzz.py``."""
        for number in range(count):
            self.take("drawn as in fuzz.py", drawn(seed, number, self.whole, self.foreign))
            if number % 2000 == 1999:
                print(f"{number + 1:,} inputs, {len(self.broken)} rules broken", flush=True)

    def all_foreign(self) -> None:
        """Every foreign file in place of every file, with sums that do not agree and that do."""
        for kind, data in self.foreign.items():
            self.take("foreign files", Case("config", kind, {"config.json": data}))
            for name in self.whole:
                changed = self.whole | {name: data}
                self.take("foreign files", Case("checkpoint", kind, changed))
                if name != MANIFEST:
                    manifest = sealed_again(changed)
                    self.take("foreign files", Case("checkpoint", kind, changed | manifest))

    def all_planted(self) -> None:
        """Links, pipes, devices, folders and sparse files in place of every file."""
        files = {self.step / name: data for name, data in self.whole.items()}
        files[self.run / "config.json"] = b"{}"
        for file, data in files.items():
            for kind in PLANTED:
                loader = "config" if file.name == "config.json" else "checkpoint"
                contents = {"config.json": b"{}"} if loader == "config" else self.whole
                self.take(
                    "planted",
                    Case(loader, kind, contents),
                    lambda kind=kind, file=file, data=data: plant(
                        kind, file, data, self.place / "outside"
                    ),
                )
                remove(file)

    def all_bombs(self) -> None:
        """Small to make, large to read."""
        for name, make in bombs(self.whole).items():
            self.take("bombs", Case("checkpoint", name, make()))

    @property
    def step(self) -> Path:
        """The folder of the checkpoint."""
        return self.run / "checkpoints" / f"step_{STEP:012d}"


def sealed_again(files: Files) -> Files:
    """The manifest with the sums of these files."""
    parts = {name: files[name] for name in (TENSORS, STATE)}
    return {MANIFEST: sealed(json.loads(files[MANIFEST]), parts)}


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        trials = Trials(Path(place))
        unseen = controls(trials.watch, Path(place))
        trials.all_foreign()
        trials.all_planted()
        trials.all_bombs()
        trials.random(given.inputs, given.seed)
        if (trials.place / "canary").exists():
            trials.broken.append("something was executed")
    peak = peak_megabytes()
    trials.broken += [f"not seen by the hook: {name}" for name in unseen]
    trials.broken += [f"{peak} MB resident"] if peak > MEGABYTES else []
    trials.broken += [f"event: {event}" for event in trials.watch.events]
    for line in trials.broken:
        print(line)
    given.out.write_text(page(trials, peak))
    print(f"{len(trials.broken)} rules broken, {sum(trials.watch.events.values())} events")
    return int(bool(trials.broken))


def page(trials: Trials, peak: int) -> str:
    """The results as a page."""
    lines = [
        "# Hostile files",
        "",
        "Made by `python benchmarks/reliability/hostile.py`: checkpoints and configurations that "
        "are damaged,",
        "foreign or made to do harm, loaded under an audit hook. An *event* is anything but "
        "reading a plain file",
        "of the run's own folder: code compiled, executed or imported, a pickle, a process, a "
        "socket, a library,",
        "a file outside, a file written. Four controls that do such things were seen by the hook.",
        "",
        "| files | loaded | refused by a named error | taken | anything else |",
        "|---|---|---|---|---|",
    ]
    for row, found in trials.rows.items():
        known = found["refused"], found["taken"]
        rest = found.total() - sum(known)
        lines.append(f"| {row} | {found.total():,} | {known[0]:,} | {known[1]:,} | {rest} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Events: {sum(trials.watch.events.values())}. Rules broken: {len(trials.broken)}. "
            f"Slowest: {trials.slowest:.2f} s of processor time (limit {SECONDS:g} s). Largest "
            f"resident memory of the process: {peak} MB (limit {MEGABYTES} MB).",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
