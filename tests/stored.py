"""Messages to people, stored beside the tests: a changed message is a change to be looked at.

``Messages("settings")`` holds ``messages/settings.json``, which maps the id of a row to the text
that it must produce, letter by letter. To store what is produced now, on purpose:
``KLAMP_STORE_MESSAGES=1 pytest tests/test_bad_input_settings.py``, and read the difference.
"""

import json
import os
import textwrap
from collections.abc import Iterable
from pathlib import Path

LINES, WIDTH = 10, 100
WRITING = bool(os.environ.get("KLAMP_STORE_MESSAGES"))


class Messages:
    """The stored texts of one test file."""

    def __init__(self, name: str) -> None:
        self.path = Path(__file__).parent / "messages" / f"{name}.json"
        self.texts: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def check(self, row: str, text: str) -> None:
        """A message is one paragraph of at most ten lines, and the stored one."""
        assert "\n" not in text, "one paragraph"
        assert len(textwrap.wrap(text, WIDTH)) <= LINES, text
        assert text.endswith((".", "!", "?", ")")), text
        if WRITING:
            self.texts[row] = text
            self._write()
        assert row in self.texts, f"no message is stored for {row!r}; produced: {text}"
        assert text == self.texts[row]

    def check_rows(self, rows: Iterable[str]) -> None:
        """Every stored message belongs to a row."""
        known = set(rows)
        if WRITING:
            self.texts = {row: text for row, text in self.texts.items() if row in known}
            self._write()
        assert set(self.texts) == known

    def _write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        ordered = dict(sorted(self.texts.items(), key=_by_number))
        self.path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def _by_number(item: tuple[str, str]) -> tuple[int, str]:
    """B2 stands before B10."""
    digits = item[0].split()[0].lstrip("B")
    return int(digits) if digits.isdigit() else 0, item[0]
