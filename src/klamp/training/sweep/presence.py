"""Which workers of a sweep are alive, and which of them may hand out a trial now.

Both are locks that the system gives back when a process ends, however it ends: of a file beside a
sqlite file, or of a session with a PostgreSQL server. Nothing is concluded from time that passes,
so a worker that was stopped, or whose trial takes long, is not taken for a dead one.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import filelock

from klamp.errors import ConfigError, RunFolderError


class Presence(Protocol):
    """The locks of one worker."""

    worker: str
    """Its name, which no other has."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """While this is held, no other worker hands out, takes over or ends a trial."""
        ...

    def alive(self, worker: str) -> bool:
        """Whether the process of a worker is there; asked while it is ``alone``."""
        ...

    def close(self) -> None:
        """Give its own lock back."""
        ...


def worker_name() -> str:
    """A name that no other worker has."""
    return secrets.token_hex(8)


class FilePresence:
    """By files in a folder that all workers see, of one machine or of several."""

    def __init__(self, folder: Path) -> None:
        self.worker = worker_name()
        self._folder = folder
        self._turn = filelock.FileLock(folder / "turn.lock")
        self._own = filelock.FileLock(self._path(self.worker), timeout=0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.alone():
                self._own.acquire()
        except OSError as error:
            raise RunFolderError(
                f"The folder {folder} cannot be written ({error.strerror or error}): the workers "
                "of a sweep tell each other there that they are alive. Choose another with `out=…`."
            ) from error

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Hold the one lock that all wait for."""
        with self._turn:
            yield

    def alive(self, worker: str) -> bool:
        """Whether the lock of a worker is held."""
        if worker == self.worker:
            return True
        try:
            with filelock.FileLock(self._path(worker), timeout=0):
                pass
        except filelock.Timeout:
            return True
        # Its name is never used again.
        self._path(worker).unlink(missing_ok=True)
        return False

    def close(self) -> None:
        """Give the lock back; its file goes, too."""
        self._own.release()
        with contextlib.suppress(OSError):
            self._path(self.worker).unlink(missing_ok=True)

    def _path(self, worker: str) -> Path:
        return self._folder / f"worker-{worker}.lock"


class PostgresPresence:
    """By advisory locks of a PostgreSQL server, which end with the session that holds them."""

    def __init__(self, url: str, study: str) -> None:
        # It comes with Optuna, an extra.
        sqlalchemy: Any = import_module("sqlalchemy")
        self.worker = worker_name()
        self._study = study
        self._text: Any = sqlalchemy.text
        engine: Any = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        self._session: Any = engine.connect()
        self._call("pg_advisory_lock", self.worker)

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Hold the one lock that all wait for."""
        self._call("pg_advisory_lock", "turn")
        try:
            yield
        finally:
            self._call("pg_advisory_unlock", "turn")

    def alive(self, worker: str) -> bool:
        """Whether another session holds the lock of a worker."""
        if worker == self.worker:
            return True
        if not self._call("pg_try_advisory_lock", worker):
            return True
        self._call("pg_advisory_unlock", worker)
        return False

    def close(self) -> None:
        """End the session, and with it its locks."""
        self._session.close()
        self._session.engine.dispose()

    def _call(self, function: str, what: str) -> Any:
        digest = hashlib.sha256(f"klamp/{self._study}/{what}".encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        return self._session.execute(self._text(f"SELECT {function}(:key)"), {"key": key}).scalar()


def presence_of(url: str, study: str) -> Presence:
    """The locks that go with a storage. Raises ``ConfigError`` where there are none."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return FilePresence(path.with_name(f"{path.name}.locks"))
    if url.startswith("postgresql"):
        return PostgresPresence(url, study)
    raise ConfigError(
        f"`storage` is {url.partition('://')[0]}://…, but must be a file, sqlite:///PATH, or a "
        "PostgreSQL server, postgresql://USER@HOST/DATABASE: only these tell a worker that is dead "
        "from one that is slow."
    )
