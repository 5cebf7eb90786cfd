"""Two network namespaces with a link of a given delay and bandwidth between them (Linux, root).

A process of Python hands packets from one to the other, each after the time that it would need; the
kernel's own `netem` is not everywhere. It takes some 0.1 ms itself: measure what a link does.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

NAMES = ("klamp-link-0", "klamp-link-1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
LARGEST = 60_000
"""Bytes of a packet: fewer packets are handed on with less work."""
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def command_in(side: int, *words: str) -> list[str]:
    """A command as it runs on one side of the link."""
    return ["ip", "netns", "exec", NAMES[side], *words]


def _device(name: str) -> int:
    """A network device of this process in a namespace."""
    library = ctypes.CDLL(None, use_errno=True)
    with open(f"/var/run/netns/{name}", "rb") as file:
        if library.setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"cannot enter {name}")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"klamp", IFF_TUN | IFF_NO_PI))
    return device


def relay(delay_s: float, bits_per_s: float) -> None:
    """Hand packets on, until this process is killed."""
    devices = [_device(name) for name in NAMES]
    print("ready", flush=True)
    waiting: list[deque[tuple[float, bytes]]] = [deque(), deque()]
    free = [0.0, 0.0]
    while True:
        now = time.monotonic()
        for side in (0, 1):
            while waiting[side] and waiting[side][0][0] <= now:
                with suppress(OSError):  # the other side is not up yet: lost, as on a wire
                    os.write(devices[1 - side], waiting[side].popleft()[1])
        due = min((queue[0][0] for queue in waiting if queue), default=now + 1)
        # The last fifth of a millisecond is waited for awake: a sleep may take longer.
        ready, _, _ = select.select(devices, [], [], max(due - time.monotonic() - 2e-4, 0))
        for device in ready:
            packet, side = os.read(device, 2**16), devices.index(device)
            begins = max(time.monotonic(), free[side])
            free[side] = begins + 8 * len(packet) / bits_per_s
            waiting[side].append((free[side] + delay_s, packet))


@contextmanager
def link(delay_s: float, bits_per_s: float) -> Generator[None]:
    """Both namespaces, joined, while the context lasts."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    hosts = [Path("/etc/netns") / name / "hosts" for name in NAMES]
    process: subprocess.Popen[bytes] | None = None
    try:
        for name, address, file in zip(NAMES, ADDRESSES, hosts, strict=True):
            ip("netns", "add", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            # Gloo listens on the address of the host's own name.
            file.write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
        given = (str(delay_s), str(bits_per_s))
        process = subprocess.Popen([sys.executable, __file__, *given], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "klamp")
            ip("-n", name, "link", "set", "klamp", "mtu", str(LARGEST), "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
        for name, file in zip(NAMES, hosts, strict=True):
            subprocess.run(["ip", "netns", "del", name], check=False)
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    relay(float(sys.argv[1]), float(sys.argv[2]))
