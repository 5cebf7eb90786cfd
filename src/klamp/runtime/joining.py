"""Joining the processes of a run: JAX's coordinator, then a comparison of what all of them run.

Nothing here is imported by a run of one process.
"""

import contextlib
import ctypes
import json
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from klamp.errors import ConfigError, KlampError, one_line, shown
from klamp.runtime.joined import Joined
from klamp.runtime.provenance import LIBRARIES, fingerprint
from klamp.runtime.streams import silenced
from klamp.runtime.watch import Member, Watch

LEAVE_S = 20.0
"""Seconds that a process that ends waits for the others, at most."""


A_DAY_S = 86_400
"""Seconds of silence after which JAX by itself takes a process for lost: ``Watch`` is quicker."""

STANDARD_OUTPUT = 1
"""Its file descriptor."""

PATIENCE_S = 5.0
"""Seconds that the main thread has to end by itself after a process is known to be lost."""


class Cluster(NamedTuple):
    """How a process finds the others; what is None is asked of the cluster (SLURM, Kubernetes…)."""

    coordinator: str | None = None
    """HOST:PORT of process 0, which listens there."""
    processes: int | None = None
    process: int | None = None
    """Which of them this is, from 0."""
    join_timeout_s: float = 300.0
    lost_after_s: float = 30.0
    """Seconds of silence after which another process is lost."""


def join(cluster: Cluster, facts: Mapping[str, Any]) -> Joined:
    """Join the other processes; ``facts`` are what must be alike in all of them.

    To be called before JAX computes anything. Raises ``ConfigError`` where the coordinator is not
    reached or processes are missing within ``join_timeout_s``, and, in every process, where facts
    or versions differ.
    """
    deadline = time.monotonic() + cluster.join_timeout_s
    _probe(cluster)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Otherwise the coordinator ends the others itself, without a word of which one is gone,
    jax.config.update("jax_enable_recoverability", True)
    # and SIGTERM is JAX's.
    jax.config.update("jax_enable_preemption_service", False)
    # Where processes are missing JAX aborts. The C library has a pointer to what is called then.
    missing = ConfigError(_not_joined(cluster, TimeoutError("not all of them came")))
    held = _on_abort(lambda: _say_and_exit(missing))
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.processes,
            cluster.process,
            initialization_timeout=max(int(deadline - time.monotonic()), 1),
            heartbeat_timeout_seconds=A_DAY_S,
            coordinator_bind_address=cluster.coordinator,
        )
        # All of them take part in this; later one might be gone.
        with new_threads_wait():
            jax.devices()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(_not_joined(cluster, error)) from error
    state: Any = import_module("jax._src.distributed").global_state
    client, index, count = state.client, state.process_id, state.num_processes
    members = _compared(client, index, count, facts, deadline)
    watch = Watch(client, index, members, cluster.lost_after_s)
    _leave_when_stuck(watch)
    watch.start()
    # The C library holds a pointer to it until the process ends.
    watch.at_abort = (held, _on_abort(lambda: aborted(watch)))
    _first_sum()
    return Joined(client, index, count, watch)


def _first_sum() -> None:
    """Sum over all processes once, so that a network that lets no sums through is found out now.

    Gloo, which connects them at the first sum, says so on standard output.
    """
    devices = np.array(jax.devices())
    rows = NamedSharding(Mesh(devices, ("all",)), PartitionSpec("all"))
    own = np.ones(jax.local_device_count(), np.float32)
    ones = jax.make_array_from_process_local_data(rows, own, devices.shape)
    try:
        with silenced(STANDARD_OUTPUT):
            jax.jit(jnp.sum)(ones).block_until_ready()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The processes found each other, but could not make a sum together: {one_line(error)} "
            "Besides the coordinator's port, Gloo and NCCL open ports that the system chooses, "
            "between all processes: let a firewall pass these."
        ) from error


@contextlib.contextmanager
def new_threads_wait() -> Generator[None]:
    """Threads that are made meanwhile do not interrupt others of this core when they wake.

    Gloo's thread that receives asks again and again while another thread holds its lock. Where both
    share a core and it has interrupted the one that sends, it does so until the system takes the
    core from it: 4 ms for each sum, which takes 0.1 ms. Linux's batch policy, which threads inherit
    from the one that makes them, has it wait until the sender sleeps.
    """
    if not hasattr(os, "SCHED_BATCH"):
        yield
        return
    policy, given = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, policy, given)


def leave(joined: Joined, code: int, text: str) -> None:
    """Tell the others how this process ends; process 0, whose store they read it in, waits."""
    try:
        joined.watch.end(code, text)
        if joined.index == 0:
            joined.watch.wait_for_all(LEAVE_S)
    except RuntimeError:
        return  # The store is gone, and with it whoever could be told.


def _probe(cluster: Cluster) -> None:
    """Raise ``ConfigError`` where a coordinator's address cannot be right.

    JAX tells neither of an address that cannot be resolved nor of a port that is in use.
    """
    if cluster.coordinator is None:
        return
    process, processes = cluster.process, cluster.processes
    if process is None or processes is None or not 0 <= process < processes:
        raise ConfigError(
            f"`process` is {process} and `processes` is {processes}, but with a `coordinator` both "
            "must be given: how many processes there are, and which of them this is, from 0."
        )
    host, _, port = cluster.coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"`coordinator` is {shown(cluster.coordinator)}, but must be HOST:PORT, such as "
            "10.0.0.1:29400: the address of process 0, on which it listens."
        )
    limit = time.monotonic() + cluster.join_timeout_s
    problem: OSError | None = None
    while time.monotonic() < limit:
        try:
            if cluster.process == 0:
                socket.create_server((host, int(port))).close()
            else:
                socket.create_connection((host, int(port)), 1.0).close()
            return
        except OSError as error:
            problem = error
            if cluster.process == 0:
                break
            time.sleep(0.1)
    what = "listen on" if cluster.process == 0 else "reach"
    within = "" if cluster.process == 0 else f" within {cluster.join_timeout_s:g} s"
    raise ConfigError(
        f"This process ({cluster.process} of {cluster.processes}, on {platform.node()}) could not "
        f"{what} the coordinator {cluster.coordinator}{within} "
        f"({problem.strerror or problem if problem else 'no answer'}). The address must be of "
        "process 0, with a free port that no firewall closes; start all processes with the same "
        "one, or give more time by `join_timeout_s=…`."
    )


def _not_joined(cluster: Cluster, error: Exception) -> str:
    """Why the processes did not find each other, in words."""
    if cluster.coordinator is None:
        return (
            "The processes of this run could not be joined: JAX finds no cluster that tells of "
            f"them ({one_line(error)}) It knows SLURM, Open MPI and Kubernetes; elsewhere give "
            "`coordinator='HOST:PORT'`, `processes=…` and `process=…`."
        )
    return (
        f"Process {cluster.process} of {cluster.processes} could not join the others at "
        f"{cluster.coordinator} within {cluster.join_timeout_s:g} s "
        f"({one_line(error).split(' Additional GRPC')[0][:300]}). All processes must be started "
        "within that time, each with its own `process=…` from 0, the same `processes=…`, and the "
        "address of process 0; give more time by `join_timeout_s=…`."
    )


def _compared(
    client: Any, index: int, count: int, facts: Mapping[str, Any], deadline: float
) -> list[Member]:
    """Who the processes are; ``ConfigError`` in each where they are to run different things."""
    versions = {name: fingerprint()[name] for name in (*LIBRARIES, "python")}
    own = {"host": platform.node(), "pid": os.getpid(), "facts": versions | dict(facts)}
    client.key_value_set(f"klamp/member/{index}", json.dumps(own))
    told: list[dict[str, Any]] = []
    for other in range(count):
        left_ms = max(int((deadline - time.monotonic()) * 1000), 1000)
        try:
            told.append(json.loads(client.blocking_key_value_get(f"klamp/member/{other}", left_ms)))
        except RuntimeError as error:
            raise ConfigError(
                f"Process {other} of {count} has joined, but not said what it runs. Are all of "
                "them of the same klamp?"
            ) from error
    _wait_for_readers(client, index, count)
    for other, word in enumerate(told):
        here, there = told[0]["facts"], word["facts"]
        for name in here | there:
            if here.get(name) != there.get(name):
                raise ConfigError(
                    f"The processes do not run the same: `{name}` is {shown(here.get(name))} in "
                    f"process 0, on {told[0]['host']}, and {shown(there.get(name))} in process "
                    f"{other}, on {word['host']}. Start all of them with the same command and the "
                    "same versions."
                )
    return [Member(other, word["host"], word["pid"]) for other, word in enumerate(told)]


def _wait_for_readers(client: Any, index: int, count: int) -> None:
    """Process 0 does not leave before the others know, since they read in its store."""
    client.key_value_set(f"klamp/reader/{index}", "")
    for other in range(1, count if index == 0 else 1):
        with contextlib.suppress(RuntimeError):
            client.blocking_key_value_get(f"klamp/reader/{other}", int(LEAVE_S * 1000))


def _on_abort(call: Callable[[], object]) -> object:
    """Have ``call`` called where JAX ends this process by ``abort``; to be kept."""
    at_abort: Any = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = at_abort(lambda number: call())
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)
    return handler


def aborted(watch: Watch) -> None:
    """Name process 0 where it is lost, with JAX's coordinator in it.

    JAX then ends this process at once, by a signal that no handler of Python's hears.
    """
    if watch.ended is not None:
        os._exit(watch.ended)
    try:
        watch.check()
        error: KlampError = watch.lost(0, "is gone, with the coordinator in it")
    except KlampError as known:
        error = known
    _say_and_exit(error)


def _leave_when_stuck(watch: Watch) -> None:
    """Have this process end where its main thread waits for a process that is lost."""
    known: list[float] = []

    def told(loss: KlampError) -> None:
        known.append(time.monotonic())
        if known[-1] - known[0] > PATIENCE_S:
            watch.end(loss.code, str(loss))
            watch.wait_for_all(LEAVE_S)
            _say_and_exit(loss)

    watch.on_loss = told


def _say_and_exit(error: KlampError) -> None:
    print(f"klamp: {error}", file=sys.stderr, flush=True)
    os._exit(error.code)
