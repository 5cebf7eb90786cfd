"""`klamp compare`."""

from dataclasses import make_dataclass
from pathlib import Path

from klamp.cli.options import parse
from klamp.errors import ConfigError


def compare(words: list[str]) -> int:
    """`klamp compare DIR …`."""
    import tyro

    options = make_dataclass(
        "CompareOptions",
        [
            ("folders", tyro.conf.Positional[tuple[Path, ...]]),
            ("out", Path, Path("compare.html")),
        ],
    )
    options.__doc__ = """Runs side by side.

    Args:
        folders: Run folders; seeds of one environment and algorithm are pooled.
        out: The page with plots.
    """
    given = parse(
        options,
        words,
        command="compare",
        description="Runs side by side: a table with intervals, and a page with plots.",
    )
    if not given.folders:
        raise ConfigError(
            "`klamp compare` was given no folders. Write `klamp compare DIR …` with the folders of "
            "runs that have ended, such as `runs/*`."
        )
    from klamp.cli import compare as comparison

    print(comparison.compare(list(given.folders), given.out))
    return 0
