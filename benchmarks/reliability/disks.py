"""A small disk for a command alone: a file system in memory, mounted where nobody else sees it.

Linux lets every user have such a mount in a namespace of their own (`unshare`), so a disk can be
really full, at every call and for every library, without the right to mount anything.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

INSIDE = "KLAMP_BENCHMARK_DISK"


def inside_a_namespace() -> None:
    """Run this command anew where it may mount; once there, nothing happens."""
    if os.environ.get(INSIDE):
        return
    unshare = shutil.which("unshare")
    trial = [unshare, "--user", "--map-root-user", "--mount", "true"]
    if unshare is None or subprocess.run(trial, stderr=subprocess.DEVNULL, check=False).returncode:
        sys.exit("This needs Linux with user namespaces and `unshare` (util-linux).")
    os.environ[INSIDE] = "1"
    os.execv(unshare, [*trial[:-1], sys.executable, *sys.argv])


class SmallDisk:
    """A disk of so many bytes, that can be filled to the last one and given room again."""

    def __init__(self, place: Path, size: int) -> None:
        self.place, self._filler = place, place / "filler"
        place.mkdir()
        options = ["-o", f"size={size}", "-t", "tmpfs"]
        subprocess.run(["mount", *options, "none", str(place)], check=True)

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (2**16, 2**12, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def make_room(self) -> None:
        """Take away what filled it."""
        self._filler.unlink(missing_ok=True)

    def clear(self) -> None:
        """Take away everything."""
        for path in self.place.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def close(self) -> None:
        """Unmount."""
        subprocess.run(["umount", str(self.place)], check=True)
