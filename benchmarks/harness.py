"""What the benchmarks stand on: the peers' environment, the workers' processes, the machine."""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
PEERS = ROOT / ".venv-peers"
TIMEOUT_S = 900

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's own pools
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}
"""One thread in every library; each worker is pinned to one core besides."""


def peers_python(given: str | None) -> str:
    """Find the interpreter that has the peers, or build its environment once."""
    if given is not None:
        return given
    python, stamp = PEERS / "bin" / "python", PEERS / "installed.txt"
    wanted = (HERE / "peers.txt").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return str(python)
    print(f"Building the peers' environment in {PEERS.name} (once, some minutes)", flush=True)
    torch = next(line for line in wanted.splitlines() if line.startswith("torch=="))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _succeed([sys.executable, "-m", "venv", "--clear", str(PEERS)])
    # By itself first, so that no other requirement chooses the build.
    _succeed([*pip, torch])
    _succeed([*pip, "--requirement", str(HERE / "peers.txt")])
    stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def _succeed(command: list[str]) -> None:
    """Run a command of the set-up; where it fails, say so in its own words and stop."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"The peers' environment could not be built: `{' '.join(command)}` failed.\n"
            f"{done.stderr.strip()}\nMend that, or give an interpreter that has the libraries of "
            "benchmarks/peers.txt by `--peers-python PATH`."
        )


def run_worker(python: str, system: str, work: dict[str, Any]) -> dict[str, Any]:
    """Measure a system in a process of its own; ``{"error": …}`` where that failed."""
    command = [python, "-m", f"systems.{system}", json.dumps(work)]
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    try:
        # A folder of its own takes what libraries drop where they run, such as MuJoCo's log.
        with tempfile.TemporaryDirectory() as scratch:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=os.environ | ONE_THREAD | {"PYTHONPATH": path},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": f"exit code {done.returncode}: {last}"}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def machine() -> dict[str, Any]:
    """Describe the machine, as far as a figure depends on it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
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
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src")
        found["commit"] = commit + (" with local changes" if changed else "")
    return found


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
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
