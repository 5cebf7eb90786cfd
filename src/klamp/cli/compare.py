"""`klamp compare`."""

import shlex
import shutil
from dataclasses import make_dataclass
from pathlib import Path

from klamp.cli.options import parse
from klamp.errors import CheckpointError, ConfigError, RunFolderError, printable


def compare(words: list[str]) -> int:
    """`klamp compare DIR …`."""
    import tyro

    options = make_dataclass(
        "CompareOptions",
        [
            ("folders", tyro.conf.Positional[tuple[Path, ...]]),
            ("out", Path, Path("compare.html")),
            ("threshold", float | None, None),
        ],
    )
    options.__doc__ = """Runs side by side.

    Args:
        folders: Folders of runs, of seeds, or of several of these; running and stopped runs count
            as far as they are. Runs that differ in nothing but the seed are pooled.
        out: The page with plots.
        threshold: The return that steps are counted to; by default the highest that the median
            seed of every algorithm has reached.
    """
    given = parse(
        options,
        words,
        command="compare",
        description="Runs side by side: a table with intervals, and a page with plots.",
    )
    if not given.folders:
        raise ConfigError(
            "`klamp compare` was given no folders. Write `klamp compare DIR …` with folders of "
            "runs or of seeds, such as `runs/*`."
        )
    print(_compared(list(given.folders), given.out, given.threshold, words))
    return 0


def _compared(folders: list[Path], out: Path, threshold: float | None, words: list[str]) -> str:
    """The table as text; the page goes to ``out``."""
    from datetime import datetime
    from importlib.metadata import version

    from klamp.evaluation.comparison.groups import grouped
    from klamp.evaluation.comparison.page import About, main_part, page
    from klamp.evaluation.comparison.reading import read_runs, unfinished
    from klamp.evaluation.comparison.table import as_text, tables
    from klamp.runs.atomic_write import write_atomically

    runs, notes = read_runs(folders)
    if not runs:
        raise CheckpointError(
            f"There is nothing to compare. {' '.join(notes)} Expected the folders of runs or of "
            "seeds that `klamp train` made, such as `runs/CartPole-v1-ppo-0`."
        )
    groups = grouped(runs)
    about = About(
        "klamp compare",
        shlex.join(["klamp", "compare", *words]),
        datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        version("klamp"),
    )
    try:
        write_atomically(out, page(about, main_part(groups, notes, threshold)))
    except OSError as error:
        raise RunFolderError(
            f"The page {out} cannot be written ({error.strerror or error}). Choose another file "
            "with `--out`, such as `--out /tmp/compare.html`."
        ) from error
    said = [*notes, *unfinished(runs), f"Plots: {out}"]
    width = shutil.get_terminal_size().columns
    return "\n".join([as_text(tables(groups, threshold), width), "", *map(printable, said)])
