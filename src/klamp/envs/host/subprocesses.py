"""Copies in processes of their own, for slow environments: nothing they do can hang the run.

Every wait has a limit and watches the processes as well as their pipes: a killed worker is noticed
at once, one that hangs at the limit. Both can be restarted.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import connection
from typing import Any

import cloudpickle
import numpy as np
from gymnasium.vector.utils import (
    batch_space,
    create_shared_memory,
    iterate,
    read_from_shared_memory,
)

from klamp.envs.host.copies import Info, Replayed, Stepped
from klamp.envs.host.worker import work
from klamp.errors import CopyFault
from klamp.runtime.processes import process_context, start

CONSTRUCTION_LIMIT_S = 300.0
CLOSE_LIMIT_S = 2.0
"""Seconds for all workers to exit by themselves; then they are killed."""

PRELOADED = ("klamp.envs.host.worker",)
"""What every worker imports."""


class WorkersLost(Exception):
    """Workers that died or gave no answer, and what all the others returned."""

    def __init__(self, lost: dict[int, str], stepped: Stepped, infos: list[Info | None]) -> None:
        super().__init__("; ".join(f"environment {i} {why}" for i, why in lost.items()))
        self.lost, self.stepped, self.infos = lost, stepped, infos


class WorkerCopies:
    """``Copies`` that a recipe makes, each in a process of its own."""

    def __init__(self, make: Callable[[], Any], num_envs: int, step_limit_s: float) -> None:
        self.num_envs, self._step_limit_s = num_envs, step_limit_s
        self._context = process_context(PRELOADED)
        self._make = cloudpickle.dumps(make)
        self._processes: list[Any] = [None] * num_envs
        self._pipes: list[Any] = [None] * num_envs
        one = make()
        self.single_observation_space: Any = one.observation_space
        self.single_action_space: Any = one.action_space
        one.close()
        self._batched = batch_space(self.single_action_space, num_envs)
        space = self.single_observation_space
        self._memory = create_shared_memory(space, num_envs, self._context)
        self.observation: Any = read_from_shared_memory(space, self._memory, num_envs)
        try:
            for index in range(num_envs):
                self._launch(index)
            self._compare(self._answers(range(num_envs), "construction", CONSTRUCTION_LIMIT_S))
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: dict[int, int]) -> list[Info | None]:
        """Reset some copies, each with its seed; raises ``WorkersLost`` and ``CopyFault``."""
        for index, seed in seeds.items():
            self._send(index, "reset", seed)
        done, lost = self._gather(seeds, self._step_limit_s)
        infos = [done.get(i) for i in range(self.num_envs)]
        if lost:
            raise WorkersLost(lost, self._none(), infos)
        return infos

    def step(self, action: Any) -> Stepped:
        """Step every copy; raises ``WorkersLost`` and ``CopyFault``."""
        for index, row in enumerate(iterate(self._batched, action)):
            self._send(index, "step", row)
        done, lost = self._gather(range(self.num_envs), self._step_limit_s)
        stepped = self._none()
        for index, (reward, terminated, truncated, info) in done.items():
            stepped.reward[index] = reward
            stepped.terminated[index], stepped.truncated[index] = terminated, truncated
            stepped.infos[index] = info
        if lost:
            raise WorkersLost(lost, stepped, [])
        return stepped

    def replay(self, index: int, seed: int, actions: Sequence[Any]) -> Replayed:
        """Reset one copy and take the actions; raises ``CopyFault``."""
        self._send(index, "replay", (seed, list(actions)))
        limit = self._step_limit_s * (1 + len(actions))
        return Replayed(*self._answers([index], "replay", limit)[index])

    def restart(self, index: int) -> None:
        """Kill what is left of a worker and start another; raises ``CopyFault``."""
        self._bury(index)
        self._launch(index)
        self._compare(self._answers([index], "construction", CONSTRUCTION_LIMIT_S))

    def close(self) -> None:
        """Ask the workers to exit, and kill those that do not."""
        for index in range(self.num_envs):
            if self._pipes[index] is not None:
                self._send(index, "close", None)
        deadline = time.monotonic() + CLOSE_LIMIT_S
        for process in filter(None, self._processes):
            process.join(max(deadline - time.monotonic(), 0.0))
        for index in range(self.num_envs):
            self._bury(index)

    def _launch(self, index: int) -> None:
        ours, theirs = self._context.Pipe()
        parts = (theirs, self._make, self._memory, index)
        process = self._context.Process(target=work, args=parts, daemon=True)
        start(process)
        theirs.close()
        self._processes[index], self._pipes[index] = process, ours

    def _bury(self, index: int) -> None:
        process, pipe = self._processes[index], self._pipes[index]
        if process is not None:
            process.kill()
            process.join()
            process.close()
            pipe.close()
        self._processes[index] = self._pipes[index] = None

    def _compare(self, spaces: dict[int, Any]) -> None:
        """All copies have the same spaces."""
        ours = self.single_observation_space, self.single_action_space
        for index, theirs in spaces.items():
            if theirs != ours:
                raise CopyFault(index, f"has the spaces {theirs}, and another copy {ours}.")

    def _none(self) -> Stepped:
        n = self.num_envs
        return Stepped(np.zeros(n), np.zeros(n, bool), np.zeros(n, bool), [{} for _ in range(n)])

    def _send(self, index: int, command: str, data: Any) -> None:
        """Ask; a worker that is gone is noticed when its answer is waited for."""
        try:
            self._pipes[index].send((command, data))
        except OSError:
            return

    def _answers(self, indices: Iterable[int], call: str, limit_s: float) -> dict[int, Any]:
        """The answers of some workers, of which none may be missing."""
        done, lost = self._gather(indices, limit_s)
        for index, why in lost.items():
            raise CopyFault(index, f"{why} In `{call}`.")
        return done

    def _gather(
        self, indices: Iterable[int], limit_s: float
    ) -> tuple[dict[int, Any], dict[int, str]]:
        """The answers of some workers, and why the others gave none; waits ``limit_s`` at most."""
        waiting, done, lost = set(indices), dict[int, Any](), dict[int, str]()
        faults: list[CopyFault] = []
        deadline = time.monotonic() + limit_s
        while waiting:
            left = deadline - time.monotonic()
            objects = {self._pipes[i]: i for i in waiting}
            objects |= {self._processes[i].sentinel: i for i in waiting}
            ready = {objects[each] for each in connection.wait(list(objects), max(left, 0.0))}
            for index in sorted(ready):
                waiting.discard(index)
                try:
                    kind, content = self._pipes[index].recv()
                except (EOFError, OSError):
                    lost[index] = self._end_of(index)
                    continue
                if kind == "done":
                    done[index] = content
                else:
                    faults.append(_fault(index, *content))
            if not ready and left <= 0:
                for index in sorted(waiting):
                    lost[index] = self._stuck(index, limit_s)
                break
        if faults:
            raise faults[0]
        return done, lost

    def _end_of(self, index: int) -> str:
        """How a worker that died did so."""
        process = self._processes[index]
        process.join(1.0)
        code = process.exitcode
        hint = " by the system, for want of memory? (see `dmesg`)" if code == -9 else ""
        how = f"was killed by signal {-code}{hint}" if code and code < 0 else f"ended with {code}"
        return f"died: its process {process.pid} {how}."

    def _stuck(self, index: int, limit_s: float) -> str:
        process = self._processes[index]
        process.kill()
        return f"gave no answer in {limit_s:g} s; its process {process.pid} was killed."


def _fault(index: int, call: str, kind: str, text: str, trace: str) -> CopyFault:
    """An exception in a worker, with the last place it went through."""
    places = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    where = f" ({places[-1]})" if places else ""
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return CopyFault(index, f"raised {kind} in `{call}`: {text}{where}")
