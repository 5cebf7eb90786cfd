"""Checkpoints that are killed while they are written, cut off, flipped and mixed up.

    python benchmarks/reliability/damage.py [--only 'SIGKILL*']

*Kills*: a process saves a checkpoint and is killed by SIGKILL before or after the n-th call that
writes, syncs, renames or removes, for every n there is; and by the system's own limit in the middle
of a file, at every size of it. After each, the newest checkpoint must be the one before or the new
one, whole; the next save must succeed and leave no debris. *Faults*: the same limit as an error, at
every size. *Damage*: every bit of every file flipped, every file cut off at every length, a sector
of zeros at every place, files removed, added, exchanged; each must be named, and the run must
fall back to the checkpoint before. Writes ``results/damage.md``; exits with 1 where one did not.
"""

import argparse
import fnmatch
import os
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lives import count_calls, die

from klamp.errors import CheckpointError
from klamp.runs.checkpoint import (
    MANIFEST,
    STATE,
    TENSORS,
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
)
from klamp.runs.checkpoint_write import save_checkpoint

RESULTS = Path(__file__).parents[1] / "results" / "damage.md"
FILES = (TENSORS, STATE, MANIFEST)


class Row(NamedTuple):
    """How often something was done, and how often it was survived or noticed."""

    what: str
    done: int
    right: int


def tree(step: int) -> dict[str, Any]:
    """A state that tells its step in every number."""
    return {"theta": np.full(9, step, np.float32), "count": np.asarray(step)}


def save(run: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return save_checkpoint(run / "checkpoints", step, tree(step), {"step": step}, score=-step)


def history(run: Path, steps: tuple[int, ...]) -> None:
    """A run's folder with these checkpoints, and nothing else."""
    shutil.rmtree(run, ignore_errors=True)
    for step in steps:
        save(run, step)


def newest(run: Path) -> int:
    """The step of the newest whole checkpoint, with the numbers that it must have."""
    path = latest_checkpoint(run)
    tensors, state = load_checkpoint(path)
    step = state["step"]
    assert path.name == f"step_{step:012d}"
    assert all((tensor == step).all() for tensor in tensors.values())
    return step


def child(act: Callable[[], Any]) -> int:
    """The status of a process that did it: its exit code, or minus the signal that ended it."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def goes_on(run: Path, before: int, new: int) -> bool:
    """Whether a process that was killed left the old or the new one, and the next goes on."""
    try:
        found = newest(run)
        save(run, new + 1)
        left = [path.name for path in (run / "checkpoints").iterdir() if path.name[0] == "."]
        return found in (before, new) and newest(run) == new + 1 and not left
    except (CheckpointError, AssertionError):
        return False


def killed_at_every_call(run: Path, steps: tuple[int, ...], damaged: bool) -> Iterator[bool]:
    """SIGKILL before and after each call to the disk; until a save survives."""
    new, moment, status = steps[-1] + 1, 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        moment += 1
        history(run, steps)
        if damaged:
            # A damaged one of the same step is in the way of the new one.
            cut = save(run, new) / TENSORS
            cut.write_bytes(cut.read_bytes()[:-1])

        def doomed(moment: int = moment) -> None:
            count_calls(moment, die)
            save(run, new)

        status = child(doomed)
        if status == -signal.SIGKILL:
            yield goes_on(run, steps[-1], new)
    if status != 0 or moment < 20:
        yield False


def limited(size: int, handler: signal.Handlers) -> None:
    """From now on no file may be larger; who writes more gets the signal, or an error."""
    signal.signal(signal.SIGXFSZ, handler)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def killed_within_every_file(run: Path, largest: int) -> Iterator[bool]:
    """Killed by SIGXFSZ when a file reaches so many bytes: it is cut off there."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for size in range(largest):
        history(run, (1, 2, 3))

        def doomed(size: int = size) -> None:
            limited(size, signal.SIG_DFL)
            save(run, 4)

        yield child(doomed) == -signal.SIGXFSZ and goes_on(run, 3, 4)


def refused_within_every_file(run: Path, largest: int) -> Iterator[bool]:
    """The same as an error of the disk: nothing half is left, and the old one is the newest."""

    def refused(size: int) -> None:
        limited(size, signal.SIG_IGN)
        try:
            save(run, 4)
        except OSError:
            return
        raise AssertionError("no error")

    for size in range(largest):
        history(run, (1, 2, 3))
        status = child(lambda size=size: refused(size))
        names = sorted(path.name for path in (run / "checkpoints").iterdir())
        yield status == 0 and newest(run) == 3 and len(names) == 3


def flips(data: bytes) -> Iterator[bytes]:
    """Every bit flipped in turn."""
    for at in range(len(data)):
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def zeros(data: bytes) -> Iterator[bytes]:
    """Sixteen bytes of zeros at every place where there are others."""
    for at in range(len(data) - 16):
        if any(data[at : at + 16]):
            yield data[:at] + bytes(16) + data[at + 16 :]


def cuts(data: bytes) -> Iterator[bytes]:
    """Every length that is too short."""
    yield from (data[:length] for length in range(len(data)))


def appended(data: bytes) -> Iterator[bytes]:
    """More than there was."""
    yield from (data + more for more in (b"\0", b"\n", b" ", b"}", bytes(4096), data))


def in_every_file(path: Path, ways: Callable[[bytes], Iterator[bytes]]) -> Iterator[bool]:
    """Whether each damage to each file is an error that names the file."""
    for name in FILES:
        whole = (path / name).read_bytes()
        for damaged in ways(whole):
            (path / name).write_bytes(damaged)
            yield named(path, name)
        (path / name).write_bytes(whole)


def named(path: Path, name: str) -> bool:
    """Whether loading says which file is not as it was."""
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        return name in str(error)
    return False


def fallbacks(run: Path) -> Iterator[bool]:
    """Each way to spoil the newest: the one before is taken, with a warning that names the file."""
    ways: dict[str, Callable[[Path], Any]] = {
        f"{way} {name}": lambda path, way=way, name=name: spoil(path, way, name)
        for way in ("remove", "empty", "flip", "exchange", "link", "folder")
        for name in FILES
    }
    for way, act in ways.items():
        history(run, (1, 2, 3))
        act(run / "checkpoints" / f"step_{3:012d}")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = newest(run)
        told = " ".join(str(warning.message) for warning in said)
        yield found == 2 and way.split()[1] in told


def spoil(path: Path, way: str, name: str) -> None:
    """One kind of harm to one file of a checkpoint."""
    file, before = path / name, path.with_name(f"step_{2:012d}") / name
    data = file.read_bytes()
    file.unlink()
    match way:
        case "empty":
            file.write_bytes(b"")
        case "flip":
            file.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        case "exchange":
            file.write_bytes(before.read_bytes())
        case "link":
            file.symlink_to(before)
        case "folder":
            file.mkdir()
        case _:
            pass


def debris(run: Path) -> Iterator[bool]:
    """Names that sort last, and folders and files that are no checkpoints: none is taken."""
    harmless = ("checkpoint_temp", "step_9.tmp", "step_12", "step_000000000004 (copy)",
                "step_0000000000044", "step_00000000000４", ".tmp-1", ".trash-step_000000000009-1",
                "step_-00000000004")  # fmt: skip
    for name in harmless:
        history(run, (1, 2, 3))
        shutil.copytree(run / "checkpoints" / f"step_{3:012d}", run / "checkpoints" / name)
        yield newest(run) == 3 and len(checkpoints(run / "checkpoints")) == 3
    for make in (Path.mkdir, lambda path: path.write_bytes(b"x")):
        history(run, (1, 2, 3))
        make(run / "checkpoints" / f"step_{9:012d}")
        yield newest(run) == 3


def all_damaged(run: Path) -> Iterator[bool]:
    """Every checkpoint damaged: an error that names them all, and nothing begins anew."""
    for name in FILES:
        history(run, (1, 2, 3))
        for path in checkpoints(run / "checkpoints"):
            spoil(path, "flip", name)
        try:
            latest_checkpoint(run)
        except CheckpointError as error:
            yield all(f"step_{step:012d}" in str(error) for step in (1, 2, 3))
        else:
            yield False


def trials(place: Path) -> dict[str, Iterator[bool]]:
    """All that is done, by name; each happens when it is gone through."""
    run = place / "run"
    path = save(place / "whole", 7)
    largest = max((path / name).stat().st_size for name in FILES)
    calls = "SIGKILL at every call"
    return {
        f"{calls}, the first checkpoints": killed_at_every_call(run, (1,), False),
        f"{calls}, an older one makes way": killed_at_every_call(run, (1, 2, 3, 4), False),
        f"{calls}, a damaged one is replaced": killed_at_every_call(run, (1, 2, 3), True),
        "killed within a file, at every size": killed_within_every_file(run, largest),
        "file too large (EFBIG), at every size": refused_within_every_file(run, largest),
        "every bit of every file flipped": in_every_file(path, flips),
        "every file cut off at every length": in_every_file(path, cuts),
        "16 zeros at every place of every file": in_every_file(path, zeros),
        "bytes appended": in_every_file(path, appended),
        "newest spoilt, the one before taken": fallbacks(run),
        "debris and names that sort last": debris(run),
        "all damaged": all_damaged(run),
    }


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        for what, outcomes in trials(Path(place)).items():
            if not fnmatch.fnmatch(what, given.only):
                continue
            found = list(outcomes)
            rows.append(Row(what, len(found), sum(found)))
            print(f"{what}: {sum(found):,} of {len(found):,}", flush=True)
    if given.only == "*":
        RESULTS.write_text(page(rows))
    return int(not rows or any(row.right != row.done for row in rows))


def page(rows: list[Row]) -> str:
    """The results as a page."""
    lines = [
        "# Damage",
        "",
        "Made by `python benchmarks/reliability/damage.py`. *Right* is, after a kill or a fault: "
        "the old checkpoint",
        "or the new one is whole and has its numbers, the next save succeeds, no debris is left; "
        "after damage: an",
        "error or a warning that names the file, and never another number.",
        "",
        "| what was done | times | right |",
        "|---|---|---|",
        *(f"| {row.what} | {row.done:,} | {row.right:,} |" for row in rows),
        f"| all | {sum(row.done for row in rows):,} | {sum(row.right for row in rows):,} |",
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
