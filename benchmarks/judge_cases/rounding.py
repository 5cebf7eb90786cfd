"""Whether two numbers of processes differ by rounding, or by what they compute.

    python benchmarks/judge_cases/rounding.py RUN UPDATES FILE

takes the first updates of a run by one process again, each number of devices from θ that it
reached by itself, on the rollouts of that run, in 64 bits and in 32, and writes θ after the last
of them to FILE (.npz). ``judge_rounding`` runs it and decides.

Both sides of the promise are klamp's own, so there is no reference outside of it to ask; but a
share that is missing or counted twice is missing in 64 bits too, and rounding is not.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, finished, must, must_succeed, process, surroundings

COUNTS = (1, 2, 3)
CLOSE = 1e-5
"""The difference of θ, over the largest |θ|, after each update: in 32 bits, and in 64."""
AS_FAR = 4.0
"""How many times as far from one process several may be as 2 or 3 devices of one process are."""


def judge_rounding(
    case: Case, alone: Path, one: Any, several: Any, update: int, **variables: str
) -> str:
    """Raise a difference unless θ of several processes is that of one, up to what 32 bits leave.

    ``one`` and ``several``: θ after an update by one process, and by several. In 64 bits the update
    must be the same for every number of devices. In 32 bits 2 and 3 devices of one process show how
    far rounding alone leads; several processes may be no more than ``AS_FAR`` times as far apart.
    """
    file = case.folder / f"exact-{update}.npz"
    flags = "--xla_force_host_platform_device_count=3"
    env = surroundings(case, XLA_FLAGS=flags, **variables)
    command = [sys.executable, __file__, str(alone), str(update), str(file)]
    must_succeed(finished(process(command, env, case.folder), 300), "the update in 64 bits")
    with np.load(file) as found:
        exact = {count: found[f"64 {count}"] for count in COUNTS}
        single = {count: found[f"32 {count}"] for count in COUNTS}

    def apart(a: Any, b: Any) -> float:
        return float(np.abs(a - b).max() / np.abs(exact[1]).max())

    must(apart(single[1], one) <= CLOSE, f"update {update}: one process' θ is not found again")
    between = max(apart(exact[count], exact[1]) for count in COUNTS)
    must(between <= CLOSE, f"update {update}: in 64 bits, too, θ is {between:.1e} apart")
    rounding, far = max(apart(each, single[1]) for each in single.values()), apart(several, one)
    must(
        far <= AS_FAR * rounding + CLOSE,
        f"update {update}: θ is {far:.1e} apart, rounding explains {rounding:.1e}",
    )
    return (
        f"rounding from update {update} on: θ {far:.1e} apart, by devices of one process "
        f"{rounding:.1e}, in 64 bits {between:.1e}; one process is {apart(one, exact[1]):.1e} "
        "from there"
    )


def main() -> None:
    """As the docstring of the module says."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from distributed_exact import chains

    from klamp.runs.folder import read_trusted_config

    run, update, file = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    config = read_trusted_config(run, True, [], None)
    found = {
        f"{bits} {count}": thetas[update]
        for bits in (64, 32)
        for count, thetas in chains(config, update, bits, COUNTS).items()
    }
    np.savez(file, **found)


if __name__ == "__main__":
    main()
