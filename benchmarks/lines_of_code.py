"""Lines of `src/klamp`, beside those of an older commit, by what they are and what they are for.

    python benchmarks/lines_of_code.py [OLD_COMMIT]

Files of features that the older commit did not have are counted apart, and so are those that keep a
promise which it broke. Written to `results/lines_of_code.md`.
"""

import argparse
import ast
import fnmatch
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

from harness import RESULTS, ROOT, provenance, write

BEFORE = "987b346"
"""Where `src/klamp` had 46 files beside 5 packages."""
KINDS = ("code", "imports", "docstrings", "comments", "blank")
PROMISES = "promises that were broken"
NEW: dict[str, tuple[str, ...]] = {
    "language models": ("lm/*", "cli/language.py", "reporting/anomalies/language.py"),
    "several processes": (
        *("collection/shards.py", "networks/per_device.py", "cli/joining.py", "cli/launch.py"),
        *("runtime/joined.py", "runtime/joining.py", "runtime/watch.py", "runtime/equations.py"),
        *("training/follow.py", "training/placement.py"),
    ),
    "sweeps": ("training/sweep/*", "config/search_space.py", "cli/sweep.py"),
    "export": ("evaluation/export/*", "cli/exporting.py"),
    "video, evaluation while training": (
        *("evaluation/video.py", "evaluation/drawing.py", "evaluation/periodic.py"),
        *("evaluation/action_distribution.py",),
    ),
    "explain": (
        *("reporting/anomalies/*", "reporting/explanation.py", "reporting/update_story.py"),
        "cli/explain.py",
    ),
    "board, panel and logs": (
        *("evaluation/comparison/board.py", "cli/board.py", "reporting/panel.py"),
        *("reporting/seeds_*.py", "reporting/sparkline.py", "reporting/tensorboard.py"),
        *("reporting/csv.py", "reporting/wandb.py", "reporting/logs.py", "reporting/episodes.py"),
    ),
    "callbacks": ("training/callbacks.py", "reporting/reporter.py", "training/early_stop.py"),
    "own algorithms, wrappers, arguments, files of settings": (
        *("cli/own_algorithm.py", "cli/config_file.py", "cli/presets.py", "config/env_kwargs.py"),
        *("config/settings_file.py", "config/dialects.py", "config/algorithms/own.py"),
        *("envs/wrappers.py", "envs/host/vector_object.py"),
    ),
    "a start from another run": ("training/start_from.py",),
    PROMISES: (
        *("runs/trust.py", "runs/rewind.py", "runs/overwrite.py", "config/unused.py"),
        *("trust_region/rounding.py", "mathematics/distributions/spread.py"),
        *("mathematics/distributions/excess.py", "envs/checks/exact_resume.py"),
        *("training/refusals.py", "runtime/streams.py", "runtime/open_flags.py"),
    ),
}
SAME = "the same features"


def counted(text: str) -> Counter[str]:
    """The lines of a file, by their kind."""
    lines = text.splitlines()
    kinds = ["blank" if not line.strip() else "code" for line in lines]
    for number, line in enumerate(lines):
        if line.strip().startswith("#"):
            kinds[number] = "comments"
    for node in ast.walk(ast.parse(text)):
        kind = "imports" if isinstance(node, ast.Import | ast.ImportFrom) else None
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            kind = "docstrings" if isinstance(node.value.value, str) else None
        if kind and isinstance(node, ast.stmt):
            last = node.end_lineno or node.lineno
            kinds[node.lineno - 1 : last] = [kind] * (last - node.lineno + 1)
    return Counter(kinds)


def purpose(path: str) -> str:
    """What a file is for."""
    for name, patterns in NEW.items():
        if any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
            return name
    return SAME


def git(*words: str) -> str:
    """What git prints."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
    ).stdout


def at(commit: str) -> dict[str, Counter[str]]:
    """All lines at a commit, under one name."""
    paths = git("ls-tree", "-r", "--name-only", commit, "src/klamp").splitlines()
    texts = [git("show", f"{commit}:{path}") for path in paths if path.endswith(".py")]
    return {f"all, at {commit}": sum(map(counted, texts), Counter[str]())}


def now() -> dict[str, Counter[str]]:
    """The lines of the working tree, by what they are for."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    top = ROOT / "src" / "klamp"
    for path in sorted(top.rglob("*.py")):
        found[purpose(path.relative_to(top).as_posix())] += counted(path.read_text())
    assert set(found) == {SAME, *NEW}, "a feature has no file"
    return {name: found[name] for name in (SAME, *NEW)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("old", nargs="?", default=BEFORE)
    rows = at(parser.parse_args().old) | now()
    lines = [
        "# Lines of code",
        "",
        f"`python benchmarks/lines_of_code.py` at {provenance()['commit']}.",
        "",
        f"| lines of `src/klamp` for | all | {' | '.join(KINDS)} |",
        "|---" * (len(KINDS) + 2) + "|",
    ]
    for name, count in rows.items():
        cells = [f"{count[kind]:,}" for kind in KINDS]
        lines.append(f"| {name} | {count.total():,} | {' | '.join(cells)} |")
    write(RESULTS / "lines_of_code.md", "\n".join(lines) + "\n")
    print(Path(RESULTS / "lines_of_code.md").read_text())


if __name__ == "__main__":
    main()
