"""What every promise is judged with: a case, a difference, and klamp's command line."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

HERE = Path(__file__).parent
NOTED = "noted: "
"""How the words of a case begin that held, but that a reader of the table should know of."""


class Difference(Exception):
    """Something is not as promised."""


@dataclass(frozen=True)
class Promise:
    """One promise, how it is judged, and what is broken on purpose to see that it would be seen."""

    name: str
    says: str
    judge: Callable[["Case"], str]
    """Raises ``Difference``; else says in a few words what was tried."""
    plants: dict[str, Any]
    """By name: something that breaks the promise; its form is the promise's own matter."""
    share: int = 1
    """How often it is drawn, beside the others."""
    limit_s: float = 240.0
    """After so long a case counts as one that hangs."""
    quick: bool = False
    """Whether it is about files and words, so that most cases may be compiled without care."""


@dataclass(frozen=True)
class Case:
    """One draw. Everything random in it comes from ``rng``, which comes from its number."""

    number: int
    folder: Path
    plant: Any = None
    plant_name: str = ""
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Seed the numbers of this case."""
        object.__setattr__(self, "rng", np.random.default_rng([self.number, 77]))

    def choose(self, options: Any) -> Any:
        """One of some options."""
        options = list(options)
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        """Whether something happens that does so with this probability."""
        return bool(self.rng.random() < probability)

    def spoil(self, *parts: Any) -> None:
        """Plant the fault into these parts, if there is one."""
        if self.plant is not None:
            self.plant(*parts)

    def facade(self, *names: str) -> Any:
        """These names of the package, with the planted fault in them, if there is one."""
        import klamp

        found = SimpleNamespace(**{name: getattr(klamp, name) for name in names})
        self.spoil(found)
        return found


def must(held: Any, text: str) -> None:
    """Report a difference unless something held."""
    if not held:
        raise Difference(text)


def agree(what: str, got: Any, expected: Any, *, rtol: float, atol: float) -> None:
    """Report a difference between what was told and what was computed from the definition."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    must(got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}")
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(all="ignore"):
        near = same | (np.abs(got - expected) <= atol + rtol * np.abs(expected))
    if not np.all(near):
        at = tuple(int(i) for i in np.argwhere(~near)[0])
        raise Difference(
            f"{what}{list(at) if at else ''}: klamp {got[at]:.9g}, by definition "
            f"{expected[at]:.9g} (allowed: {rtol:g} of it and {atol:g})"
        )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    """None: it did not end within the limit."""
    out: str
    err: str


def surroundings(case: Case, **more: str) -> dict[str, str]:
    """The variables under which klamp's processes run."""
    root = HERE.parents[1]
    found = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(root / "src"), str(HERE))),
        "JAX_PLATFORMS": "cpu",
        "COLUMNS": "100",
        "JUDGE_PLANT": case.plant_name,
    }
    return found | more


def klamp_process(case: Case, words: Any, env: dict[str, str], **how: Any) -> Any:
    """The command line, begun, in a process group of its own."""
    command = [sys.executable, "-m", "klamp", *map(str, words)]
    return process(command, env, **({"cwd": case.folder} | how))


def process(command: list[str], env: dict[str, str], cwd: Path, **how: Any) -> Any:
    """A command, begun, in a process group of its own."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how),
        text=True,
        errors="surrogateescape",
        start_new_session=True,
    )


def finished(process: Any, limit_s: float) -> Ended:
    """Wait for a command and read what it said; kill its group if it does not end."""
    try:
        out, err = process.communicate(timeout=limit_s)
        return Ended(process.returncode, out or "", err or "")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Ended(None, out or "", err or "")


def ended_with(process: Any, mark: str) -> None:
    """Kill a process with all that it started, wherever: they carry its mark in their variables."""
    wanted = f"JUDGE_MARK={mark}".encode()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def klamp(case: Case, *words: Any, limit_s: float = 100.0, **more: str) -> Ended:
    """Run klamp's command line to its end."""
    return finished(klamp_process(case, words, surroundings(case, **more)), limit_s)


def must_succeed(ended: Ended, what: str) -> Ended:
    """A command that nothing was wrong with."""
    must(ended.code == 0, f"{what} ended with {ended.code}: {tail(ended.err)}")
    must_be_plain(ended, what)
    return ended


def must_be_plain(ended: Ended, what: str) -> None:
    """No traceback, no hang, and nothing that does something to a terminal."""
    must(ended.code is not None, f"{what} hangs")
    text = ended.out + ended.err
    must("Traceback (most recent call last)" not in text, f"{what}: traceback: {tail(ended.err)}")
    strange = [c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"]
    must(not strange, f"{what}: control characters {sorted(set(map(repr, strange)))[:4]} are shown")


def must_be_refused(ended: Ended, what: str) -> None:
    """Exit code 2 and one paragraph on standard error."""
    must_be_plain(ended, what)
    must(ended.code == 2, f"{what} ended with {ended.code}, not 2: {tail(ended.err)}")
    must(ended.err.strip(), f"{what} was refused without a word")
    must("\n\n" not in ended.err.strip(), f"{what}: more than one paragraph: {ended.err!r}")


def tail(text: str, length: int = 300) -> str:
    """The end of what was said, on one line."""
    return " ".join(text.split())[-length:]


def digest(path: Path) -> str:
    """What a file holds, in short."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
