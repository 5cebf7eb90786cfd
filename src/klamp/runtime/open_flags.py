"""The flags of ``os.open``, on every system."""

import functools
import operator
import os


def flags(*names: str) -> int:
    """The flags of ``os.open`` by their names, and those that every file of klamp's is opened with.

    Windows has no O_NOFOLLOW, O_NONBLOCK or O_CLOEXEC: there links are followed, and devices block.
    It has O_BINARY, without which it would change line ends.
    """
    known = (getattr(os, name, 0) for name in (*names, "O_CLOEXEC", "O_BINARY"))
    return functools.reduce(operator.or_, known, 0)


OPENS_FOLDERS = hasattr(os, "O_DIRECTORY")
"""Whether a folder can be opened, to wait until its entries are on the disk; not on Windows."""
