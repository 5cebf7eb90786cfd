"""Writing files so that a kill or a power cut leaves the old content or the new, never half."""

import contextlib
import errno
import os
import stat
from io import FileIO
from pathlib import Path

from klamp.runtime.open_flags import OPENS_FOLDERS, flags


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside ``path``, fsync, and rename over it; remove the copy where the disk is full."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def open_to_append(path: Path) -> FileIO:
    """A file whose end is written to, unbuffered, made where it is missing.

    Links are not followed, and pipes and devices not waited for: they are an ``OSError``.
    """
    how = flags("O_WRONLY", "O_APPEND", "O_CREAT", "O_NOFOLLOW", "O_NONBLOCK")
    handle = os.open(path, how, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return FileIO(handle, "ab")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk.

    Windows cannot open folders: there a power cut may undo the last rename; a kill does not.
    """
    if not OPENS_FOLDERS and path.is_dir():
        return
    # Windows can sync only files that are open for writing.
    handle = os.open(path, flags("O_RDONLY" if OPENS_FOLDERS else "O_RDWR"))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
