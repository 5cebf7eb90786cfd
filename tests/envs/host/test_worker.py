"""What runs in a worker is light, and answers whatever happens."""

import subprocess
import sys


def test_a_worker_does_not_import_jax() -> None:
    program = "import sys, klamp.envs.host.worker; print('jax' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"
