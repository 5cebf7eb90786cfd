"""The picture of a terminal in `docs/`: a run at 80 columns, while it trains and at its end.

    python benchmarks/terminal_picture.py [--chromium PROGRAM]

The run is on a terminal of its own (tmux), whose characters and colours are drawn by Chromium.
Goes to `docs/terminal-80.png`.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "terminal-80.png"
RUN = "train CartPole-v1 --algo trpo"
COLUMNS, LINES = 80, 40
WIDTH, LINE, MARGIN = 767, 19, 18
"""Pixels."""
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ background: #0c0c0c; color: #e6e6e6; margin: {margin}px 22px }}
pre {{ margin: 0; font: 15px/{line}px DejaVu Sans Mono }}
hr {{ border: 0; border-top: 1px solid #444; margin: {margin}px 0 }}
</style>{first}<hr>{second}"""


class Terminal:
    """One window of tmux with a command in it."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        command = f"cd {folder} && {sys.executable} -m klamp {RUN}; sleep 1000"
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command)

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, "-f", "/dev/null", *words]
        environment = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    def once(self, wanted: str) -> str:
        """What it shows, with its colours, as soon as that has been found."""
        while not re.search(wanted, self._tmux("capture-pane", "-p")):
            time.sleep(0.05)
        return self._tmux("capture-pane", "-p", "-e").rstrip()

    def close(self) -> None:
        """End it."""
        self._tmux("kill-server")


def as_html(shown: str) -> str:
    """Characters and colours of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(shown))
    form = "<pre>{code}</pre>"
    return console.export_html(theme=MONOKAI, inline_styles=True, code_format=form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="chromium")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        terminal = Terminal(Path(name))
        try:
            shown = [terminal.once(r" [3-8]\d% .* of "), terminal.once("OTHER")]
        finally:
            terminal.close()
        first, second = map(as_html, shown)
        page = Path(name) / "page.html"
        page.write_text(PAGE.format(margin=MARGIN, line=LINE, first=first, second=second))
        lines = sum(text.count("\n") + 1 for text in shown)
        size = f"{WIDTH},{lines * LINE + 4 * MARGIN + 1}"
        draw = [given.chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
        draw += [f"--window-size={size}", f"--screenshot={PICTURE}", page.as_uri()]
        subprocess.run(draw, check=True, capture_output=True, timeout=120)
    print("\n\n".join(Text.from_ansi(text).plain for text in shown))
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
