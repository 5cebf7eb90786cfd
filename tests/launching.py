"""`klamp launch`, as a user types it."""

import os
import subprocess
import sys


def launch_two(*words: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """`klamp launch --processes 2 -- …`, which must end within ``timeout`` seconds."""
    command = [sys.executable, "-m", "klamp", "launch", "--processes", "2", "--"]
    return subprocess.run(
        [*command, *words],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
