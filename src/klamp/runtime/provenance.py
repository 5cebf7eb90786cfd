"""What a run's last digits depend on besides its configuration: versions, machine, cores."""

import platform
from importlib.metadata import version
from pathlib import Path

from klamp.runtime.processes import cores

LIBRARIES = ("klamp", "jax", "jaxlib", "numpy", "gymnasium")


def fingerprint() -> dict[str, str]:
    """Versions, kind of machine, processor and cores; nothing that identifies user or host."""
    facts = {name: version(name) for name in LIBRARIES}
    return facts | {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores()),
    }


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """What has changed, in words."""
    return [
        f"{name} was {then[name]} and is {now[name]}"
        for name in now
        if name in then and then[name] != now[name]
    ]


def _processor() -> str:
    """The model of the processor, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
