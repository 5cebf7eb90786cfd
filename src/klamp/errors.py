"""Errors that a person can mend. Each message is one paragraph: what, where, expected, remedy."""

from collections.abc import Iterable
from typing import Any

NOT_SAVED = 74
"""Exit code where what was trained could not be written: EX_IOERR of the system's `sysexits.h`."""

LOST = 75
"""Exit code where another process of a run is lost: EX_TEMPFAIL, on which schedulers try again."""


def printable(text: str, letters: int | None = None) -> str:
    r"""A text that is safe for a terminal or a table: one line of printable characters.

    Line ends, control characters, marks of writing direction and surrogates are escaped as in
    Python, such as ``\n`` and ``\x1b``. Texts from untrusted files go through this, or through
    ``shown``, before they are printed.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if letters is None or len(text) <= letters else f"{text[:letters]}…"


class KlampError(Exception):
    """Base of every error that klamp raises on purpose; the command line exits with ``code``."""

    code = 2

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


class ConfigError(KlampError, ValueError):
    """A setting has a value that cannot work."""


class EnvironmentFault(KlampError, RuntimeError):
    """An environment is unknown, unsupported, or does not keep to Gymnasium's interface."""


class CopyFault(EnvironmentFault):
    """What one copy of an environment did wrong; ``index`` says which copy.

    ``HostEnvironments`` adds the episode's seed and the step.
    """

    def __init__(self, index: int, what: str) -> None:
        super().__init__(f"Environment {index} {what}")
        self.index, self.what = index, what


class CheckpointError(KlampError, RuntimeError):
    """A run folder or checkpoint is missing, damaged, or not one of ours."""


class RunFolderError(KlampError, FileExistsError):
    """A run folder cannot be used: it exists already, or cannot be written."""


class NotSaved(RunFolderError):
    """A run has stopped because the disk does not take what was trained.

    ``result`` is the ``Result`` up to there.
    """

    code = NOT_SAVED
    result: Any = None


class ProcessLost(KlampError):
    """Another process of the run was killed, hangs, or cannot be reached."""

    code = LOST


class NonFiniteError(KlampError, FloatingPointError):
    """NaN or infinity where refusing the update is not enough."""


class ReporterFault(KlampError, RuntimeError):
    """A reporter of the user's own raised an exception, which is this one's cause.

    The run has stopped, and was saved. ``result`` is the ``Result`` up to there.
    """

    result: Any = None


class Stopped(KeyboardInterrupt):
    """A signal stopped the run; the text says whether it could be saved, and how to go on.

    It is a ``KeyboardInterrupt``, which no ``except Exception`` swallows. The command line exits
    with ``code``: 128 + ``number``, or ``NOT_SAVED``. Where what was trained could not be saved,
    ``result`` is the ``Result`` up to there.
    """

    result: Any = None

    def __init__(self, number: int, text: str, saved: bool = True) -> None:
        super().__init__(printable(text))
        self.number, self.saved = number, saved
        self.code = 128 + number if saved else NOT_SAVED


class KlampWarning(UserWarning):
    """Something was not as it should be, and the run went on: what, where, and what was done."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


def resume_call(folder: object) -> str:
    """How to go on with a run, in Python.

    Messages name calls and `name=…`; the command line translates them into options (``cli.words``).
    """
    return f"klamp.resume({str(folder)!r})"


def shown(value: object, letters: int = 80) -> str:
    """A value in a message: on one line, printable, and shortened."""
    return printable(repr(value), letters)


def closest(name: str, known: Iterable[str], count: int = 1) -> str:
    """`` Did you mean …?`` with the nearest names to a misspelt one, or nothing."""
    import difflib  # noqa: PLC0415 - only a failing run pays for it

    near = [f"`{match}`" for match in difflib.get_close_matches(name, list(known), n=count)]
    if len(near) > 1:
        near = [", ".join(near[:-1]), near[-1]]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def one_line(error: BaseException) -> str:
    """The text of an exception without line breaks, with a full stop."""
    text = " ".join(str(error).split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def install_extra(name: str) -> str:
    """What to do where a package of an extra is missing: the one place that says how.

    klamp is on no package index, so ``pip install "klamp[…]"`` would find nothing.
    """
    return f"Do `pip install '.[{name}]'` in your checkout of klamp."
