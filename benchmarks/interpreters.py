"""One environment a group of compatible libraries, at pinned versions, built where it is missing.

The groups are the files of `requirements/`; the environments stand in `.bench/`, which git ignores.
"""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FOLDER = ROOT / ".bench"
ALONE = "torch=="
"""Installed before the rest, by itself: no other requirement then chooses its build."""


@dataclass
class Interpreters:
    """The interpreter of each group; a group that cannot be installed has its reason instead."""

    found: dict[str, str] = field(default_factory=dict[str, str])
    """Given by the user, or built, by group."""
    reasons: dict[str, str] = field(default_factory=dict[str, str])

    def python(self, group: str) -> str | None:
        """Find or build the environment of a group; None where that failed."""
        if group not in self.found and group not in self.reasons:
            try:
                self.found[group] = build(group)
            except BuildError as error:
                self.reasons[group] = str(error)
                print(f"{group}: {error}", flush=True)
        return self.found.get(group)


class BuildError(Exception):
    """Why an environment could not be built."""


def build(group: str) -> str:
    """Build the environment of a group, unless it stands already at these versions."""
    folder = FOLDER / group
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = (HERE / "requirements" / f"{group}.txt").read_text(encoding="utf-8")
    # What klamp itself needs counts too, where klamp is in the group.
    own = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if "--editable" in wanted else ""
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted + own:
        return str(python)
    print(f"Building .bench/{group} (once, some minutes)", flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    for line in wanted.splitlines():
        if line.startswith(ALONE):
            _run([*pip, line])
    # The requirements name files of the repository from its root. pip looks for files that a
    # requirements file names beside that file, so the list goes through a copy in the root's terms.
    listed = folder / "requirements.txt"
    listed.write_text(wanted.replace("--constraint ", f"--constraint {ROOT}/"), encoding="utf-8")
    _run([*pip, "--requirement", str(listed)])
    stamp.write_text(wanted + own, encoding="utf-8")
    return str(python)


def _run(command: list[str]) -> None:
    """Run a command of the set-up; where it fails, say so in its own last words."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        words = next((line for line in lines if line.startswith("ERROR: ")), lines[-1])
        words = re.sub(r"\S+://\S+", "…", words.removeprefix("ERROR: "))
        raise BuildError(f"not installed: {words.replace(str(ROOT), '.')}")
