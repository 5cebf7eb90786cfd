"""What `make release` asks before anything is uploaded.

`ready`: the tree is clean, and the changelog has the version. `contents DIST`: wheel and sdist hold
what they should and nothing else. `try DIST`: the wheel, installed into an environment of its own
and run from a folder that is no checkout, trains, evaluates, exports and lists presets.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent

INSIDE = (
    "klamp/py.typed",
    "klamp/runtime/numpy_policy.py",
    "klamp/evaluation/comparison/page.css",
    "klamp/evaluation/comparison/page.js",
    "klamp/evaluation/comparison/explained.html",
    "klamp/cli/main.py",
)
"""What a wheel needs that is easily forgotten."""

LARGEST = 2_000_000
"""Bytes that a distribution may have."""


def version() -> str:
    """The version that `pyproject.toml` says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def ready() -> list[str]:
    """What keeps this tree from being released."""
    problems: list[str] = []
    status = ["git", "status", "--porcelain"]
    changed = subprocess.run(status, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    if changed:
        problems.append(f"The tree is not clean:\n{changed}Commit or remove these.")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if f"## [{version()}]" not in changelog:
        problems.append(
            f"CHANGELOG.md has no section for {version()}. Rename `## [Unreleased]` to "
            f"`## [{version()}] - DATE`, and begin another above it."
        )
    return problems


def contents(dist: Path) -> list[str]:
    """What is missing in the distributions, and what does not belong there."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = opened.namelist()
    with tarfile.open(sdist) as opened:
        in_sdist = [name.partition("/")[2] for name in opened.getnames()]
    wanted = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    wanted |= set(INSIDE)
    problems = [f"The wheel lacks {name}." for name in sorted(wanted - set(in_wheel))]
    if not any(name.endswith("licenses/LICENSE") for name in in_wheel):
        problems.append("The wheel lacks the licence.")
    extra = [name for name in in_wheel if not name.startswith(("klamp/", "klamp-"))]
    problems += [f"The wheel has {name}, which is no part of klamp." for name in extra]
    needed = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "PKG-INFO"}
    needed |= {f"src/{name}" for name in wanted}
    problems += [f"The sdist lacks {name}." for name in sorted(needed - set(in_sdist))]
    strange = [name for name in in_sdist if name.startswith(("tests/", "benchmarks/", "runs/"))]
    problems += [f"The sdist has {name}." for name in strange]
    for path in (wheel, sdist):
        if (size := path.stat().st_size) > LARGEST:
            problems.append(f"{path.name} has {size:,} bytes; {LARGEST:,} are enough.")
        if not path.name.startswith(f"klamp-{version()}"):
            problems.append(f"{path.name} is not of version {version()}.")
    return problems


def try_elsewhere(dist: Path, shared: Sequence[str] = ()) -> list[str]:
    """Which command of an installed wheel does not end with 0, in a folder that is no checkout.

    ``shared`` are folders of packages to use in place of those that pip would download.
    """
    (wheel,) = dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        subprocess.run([sys.executable, "-m", "venv", here / "venv"], check=True)
        python = here / "venv" / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet"]
        if shared:
            install += ["--no-deps"]
            (site,) = (here / "venv" / "lib").glob("python*/site-packages")
            (site / "shared.pth").write_text("\n".join(shared))
        else:
            install += ["--constraint", ROOT / "requirements" / "constraints.txt"]
        subprocess.run([*install, wheel], check=True)
        klamp = here / "venv" / "bin" / "klamp"
        commands = [
            [python, "-c", f"import klamp; assert {str(here)!r} in klamp.__file__, klamp.__file__"],
            [klamp, "--version"],
            [klamp, "train", "CartPole-v1", "--steps", "4096", "--out", "run", "--quiet"],
            [klamp, "eval", "run", "--episodes", "2"],
            [klamp, "presets"],
            [klamp, "presets", "CartPole-v1", "--algo", "trpo"],
            [klamp, "explain", "run"],
            [klamp, "compare", "run", "--out", "compare.html"],
            [klamp, "export", "run", "--format", "numpy", "--out", "policy.npz"],
        ]
        environment = {name: of for name, of in os.environ.items() if name != "PYTHONPATH"}
        problems: list[str] = []
        for words in commands:
            said = subprocess.run(
                words, cwd=here, env=environment, capture_output=True, text=True, check=False
            )
            if said.returncode:
                problems.append(f"{' '.join(map(str, words))}: {said.returncode}\n{said.stderr}")
        return problems


def main() -> int:
    """Run one of the three; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["ready", "contents", "try"])
    parser.add_argument("dist", type=Path, nargs="?", default=ROOT / "dist")
    given = parser.parse_args()
    problems = ready() if given.what == "ready" else []
    problems += contents(given.dist) if given.what == "contents" else []
    problems += try_elsewhere(given.dist) if given.what == "try" else []
    print("\n".join(problems) or f"release, {given.what}: nothing is wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
