"""Standard error, whose reader may be gone or slow, or a file on a full disk.

No message is worth a run: one that cannot be written is dropped, and so are all later ones.
"""

import contextlib
import os
import sys
from collections.abc import Generator
from typing import Any, TextIO, cast


@contextlib.contextmanager
def silenced(number: int) -> Generator[None]:
    """What is written to an open file descriptor meanwhile goes nowhere, by C++ too."""
    kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)


class Patient:
    """A text stream that never raises; after the first failure it is silent."""

    def __init__(self, file: TextIO | None) -> None:
        """``file`` is None where a process has no such stream."""
        self._file = file
        self._gone = file is None

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        if self._file is not None and not self._gone:
            try:
                self._file.write(text)
            except (OSError, ValueError):
                self._give_up(self._file)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written, if that is possible."""
        if self._file is not None and not self._gone:
            try:
                self._file.flush()
            except (OSError, ValueError):
                self._give_up(self._file)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self._file is not None and not self._gone and self._file.isatty()
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        """Whatever else the stream has."""
        return getattr(self._file, name)

    def _give_up(self, file: TextIO) -> None:
        """Write no more, and empty the buffer, which would fail at exit, with its code."""
        self._gone = True
        with contextlib.suppress(OSError, ValueError), silenced(file.fileno()):
            file.flush()


def patient(file: TextIO | None) -> TextIO:
    """The stream as one that raises nothing."""
    return cast(TextIO, file if isinstance(file, Patient) else Patient(file))


@contextlib.contextmanager
def patient_stderr() -> Generator[None]:
    """Standard error as such a stream, warnings and what environments print included."""
    with contextlib.redirect_stderr(patient(sys.stderr)):
        yield


def open_standard_files() -> None:
    """Have the first three file numbers in use.

    Where one is closed, the next file that is opened would get it: metrics or a checkpoint, with
    what a library prints to standard error in it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
