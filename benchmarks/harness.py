"""What the benchmarks stand on: the workers' processes, the machine, files."""

import datetime
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
TIMEOUT_S = 1800


def environment(threads: int, cache: Path) -> dict[str, str]:
    """The environment variables of a worker: so many threads in every library, and its cache."""
    ours = ("JAX_", "KLAMP_")  # a choice of the caller's is not to be measured
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # An installed library's modules are compiled once and not at each start.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    count = str(threads)
    found |= {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "NPROC": count,  # XLA's own pools
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false" if threads == 1 else "",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join((str(HERE), str(ROOT / "src"))),
        "XDG_CACHE_HOME": str(cache),  # klamp keeps its compiled programs there
    }
    return found


def run_worker(
    python: str, system: str, work: dict[str, Any], cache: Path | None = None
) -> dict[str, Any]:
    """Measure a system in a process of its own; ``{"error": …}`` where that failed.

    What it caches goes to a folder of its own, empty at first, or to ``cache``.
    """
    if not (HERE / "systems" / f"{system}.py").exists():
        return {"error": f"there is no benchmarks/systems/{system}.py"}
    # A folder of its own takes what libraries drop where they run, such as MuJoCo's log.
    with tempfile.TemporaryDirectory() as scratch:
        variables = environment(len(work["cores"]), cache or Path(scratch) / "cache")
        before = _busy(work["cores"])
        began, used = time.monotonic(), children_seconds()
        command = [python, "-m", f"systems.{system}", json.dumps(work | {"spawned": began})]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=variables,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        spent, used = time.monotonic() - began, children_seconds() - used
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": last if done.returncode == 1 else f"exit code {done.returncode}: {last}"}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if before is not None:
        others = (_busy(work["cores"]) or 0.0) - before - used
        result["others"] = max(others / (spent * len(work["cores"])), 0.0)
    return result


def children_seconds() -> float:
    """Processor seconds of all processes that this one started and that are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _busy(cores: list[int]) -> float | None:
    """Seconds for which these cores have been at work, stolen time included, since the boot."""
    file = Path("/proc/stat")
    if not file.exists():
        return None
    total = 0
    for line in file.read_text(encoding="utf-8").splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _, _, interrupts, soft, stolen = map(int, fields[:8])
            total += user + nice + system + interrupts + soft + stolen
    return total / os.sysconf("SC_CLK_TCK")


def cores() -> list[int]:
    """The cores there are, the last one first: what needs one core takes that."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0), reverse=True)
    return list(range(os.cpu_count() or 1))


def machine() -> dict[str, Any]:
    """Describe the machine, as far as a figure depends on it."""
    return {
        "processor": _processor(),
        "cores": len(cores()),
        "memory_gib": round(_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    """Name the processor, and its widest vector instructions."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = dict(
        (part.strip() for part in line.split(":", 1))
        for line in info.read_text(encoding="utf-8").splitlines()
        if ":" in line
    )
    name = fields.get("model name", platform.machine())
    flags = fields.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2") if flag in flags), None)
    family = f"family {fields['cpu family']} model {fields['model']}" if "model" in fields else ""
    return ", ".join(part for part in (name, family, widest) if part)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def provenance() -> dict[str, str]:
    """Which klamp, when."""
    found = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "klamp": importlib.metadata.version("klamp"),
    }
    commit = commit_of(ROOT)
    return found | ({"commit": commit} if commit else {})


def commit_of(root: Path) -> str:
    """Of a checkout, and whether its package differs from it; empty where there is none."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
    return commit + (" with local changes" if changed else "")


def resumed(path: Path, part: str) -> dict[str, Any]:
    """What a file of results holds where it is of this very commit, else none in its ``part``."""
    about = provenance()
    commit = about.get("commit", "with local changes")
    if path.exists() and "local changes" not in commit:
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if before["provenance"].get("commit") == commit:
            return before
    return {"provenance": about, "machine": machine(), part: {}}


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
