"""A key-value store as JAX's coordinator has it, and processes that are threads."""

import threading
import time
from collections.abc import Callable
from typing import Any

from klamp.runtime.joined import Joined
from klamp.runtime.watch import Member, Watch


class Store:
    """The methods of JAX's client that klamp calls."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.changed = threading.Condition()

    def key_value_set(self, key: str, value: Any, allow_overwrite: bool = False) -> None:
        with self.changed:
            assert allow_overwrite or key not in self.kept
            self.kept[key] = value
            self.changed.notify_all()

    key_value_set_bytes = key_value_set

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> Any:
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.kept, timeout_in_ms / 1000):
                raise RuntimeError("DEADLINE_EXCEEDED: not there")
            return self.kept[key]

    blocking_key_value_get_bytes = blocking_key_value_get

    def key_value_dir_get(self, key: str) -> list[tuple[str, Any]]:
        with self.changed:
            return [(name, self.kept[name]) for name in self.kept if name.startswith(key)]

    def key_value_delete(self, key: str) -> None:
        with self.changed:
            self.kept = {name: self.kept[name] for name in self.kept if not name.startswith(key)}


def joined_threads(count: int, lost_after_s: float = 60.0) -> list[Joined]:
    """So many processes, joined over one store."""
    store = Store()
    members = [Member(index, f"host{index}", 100 + index) for index in range(count)]
    watches = [Watch(store, index, members, lost_after_s) for index in range(count)]
    for watch in watches:
        watch.start()
    return [Joined(store, index, count, watch) for index, watch in enumerate(watches)]


def in_each(joined: list[Joined], work: Callable[[Joined], Any]) -> list[Any]:
    """What ``work`` returns or raises in each of the processes, all at once."""
    results: list[Any] = [None] * len(joined)

    def run(index: int) -> None:
        try:
            results[index] = work(joined[index])
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(joined))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def until(condition: Callable[[], object]) -> None:
    """Wait for something that other threads bring about."""
    while not condition():
        time.sleep(0.01)
