"""What `mkdocs build` does to the pages, so that the same files are read well in the repository.

Pages link to each other and, by ``../``, to files of the repository. Of these some are pages of
the site, too (``BESIDE``); the others are named, since the site has no copy of them. A link to a
file that is not there is an error in either case.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent

BESIDE = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.zh.md": "index.zh.md",
    "README.md": "index.md",
    "benchmarks/results/speed.png": "speed.png",
}
"""Files of the repository by the names that they have on the site."""

WRITTEN = "index.md"
"""The page that is a file of docs/, although the README leads to it."""

LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Take in the files that lie beside docs/."""
    for name, page in BESIDE.items():
        if page == WRITTEN:
            continue
        path = ROOT / name
        if path.suffix == ".md":
            text = _linked(path.read_text(encoding="utf-8"), path.parent, name)
            files.append(File.generated(config, page, content=text))
        else:
            files.append(File.generated(config, page, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links out of docs/ into links within the site, or into names."""
    if page.file.generated_by:
        return markdown
    source = Path(page.file.abs_src_path)
    return _linked(markdown, source.parent, page.file.src_uri)


def _linked(text: str, folder: Path, name: str) -> str:
    """``text`` of a page that lies in ``folder``, as the site has it."""

    def replaced(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = (folder / target).resolve()
        if not path.exists():
            raise PluginError(f"{name} links to {target}, which is not there.")
        place = path.relative_to(ROOT).as_posix()
        if folder != ROOT and place.startswith("docs/"):
            return found[0]
        place = BESIDE.get(place, place.removeprefix("docs/") if place.startswith("docs/") else "")
        if not place:
            return words
        anchor = "" if place == WRITTEN else anchor
        up = "" if folder == ROOT else "../" * len(folder.relative_to(ROOT / "docs").parts)
        return f"{picture}[{words}]({up}{place}{anchor or ''})"

    return LINK.sub(replaced, text)
