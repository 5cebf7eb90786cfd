"""The update over 1, 2 and 4 devices of one process on the same rollouts, in 64 bits or in 32.

    python benchmarks/distributed_exact.py [--bits 64] ENV,ALGORITHM,NETWORK …

What differs between numbers of devices in 32 bits is rounding where it all but vanishes in 64, and
another update where it does not. `distributed.py --float64` runs this and shows what it found.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from launches import add, rows

COUNTS = (1, 2, 4)
Key = tuple[str, str, str]


def measure(keys: list[Key]) -> None:
    """A line of results in 64 bits for each of the rows that has none."""
    done = {(row["env"], row["algo"], row["network"]) for row in rows("float64")}
    left = [",".join(key) for key in keys if key not in done]
    if not left:
        return
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    started = subprocess.Popen(
        [sys.executable, __file__, *left],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    for line in started.stdout:
        add(json.loads(line))
    assert not started.wait(), started.returncode


def said() -> list[str]:
    """The table."""
    found = rows("float64")
    if not found:
        return []
    head = ["environment", "algorithm", "network"]
    head += [f"{count} devices, {when}" for count in COUNTS[1:] for when in ("first", "largest")]
    lines = [
        "",
        "In 64 bits (`--float64`): rows of the matrix computed again, from the rollouts of one",
        "process, by 1, 2 and 4 devices of one process; the difference of θ after the first",
        "update, and the largest after any of five.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for row in found:
        both = [row[f"theta_{count}"] for count in COUNTS[1:]]
        shown = [f"{value:.1e}" for far in both for value in (far[1], max(far))]
        lines.append(f"| {' | '.join([row['env'], row['algo'], row['network'], *shown])} |")
    return lines


def recorded(config: Any, updates: int) -> tuple[Any, list[tuple[Any, ...]]]:
    """A run's first updates by one device: the iteration, and what ``learn`` was given."""
    from klamp.training import iteration
    from klamp.training.learning import make_learn

    training, state = iteration.start(config)
    training.learn = make_learn(training.model, config.algorithm, config.settings)
    given: list[tuple[Any, ...]] = []
    learn = training.learn

    def keep(*arguments: Any) -> Any:
        given.append(arguments)
        return learn(*arguments)

    training.learn = keep
    for _ in range(updates):
        state, _ = training.advance(state)
    return training, given


def chains(
    config: Any, updates: int, bits: int, counts: tuple[int, ...] = COUNTS
) -> dict[int, list[Any]]:
    """θ after each update, for each number of devices; the rollouts are those of one in 32 bits."""
    import jax
    import numpy as np
    from jax.sharding import Mesh

    from klamp.networks import flatten
    from klamp.runtime.joined import ALONE
    from klamp.training.iteration import ROLLOUT
    from klamp.training.learning import initial_state, make_learn
    from klamp.training.placement import AXIS, PlacedLearn

    training, given = recorded(config, updates)
    real = np.float64 if bits == 64 else np.float32

    def cast(leaf: Any) -> Any:
        own = np.asarray(leaf)
        return own.astype(real) if np.issubdtype(own.dtype, np.floating) else own

    found: dict[int, list[Any]] = {}
    with jax.enable_x64(bits == 64):
        network = training.model.unravel(given[0][0])
        trained = jax.tree.map(lambda x: jax.numpy.asarray(cast(x)) if is_real(x) else x, network)
        start, model = flatten(trained)
        assert start.dtype == real
        for count in counts:
            learn: Any = make_learn(model, config.algorithm, config.settings, count)
            theta, state = start, initial_state(config.algorithm, model, start)
            if count > 1:
                mesh = Mesh(np.array(jax.devices()[:count]), (AXIS,))
                placed = PlacedLearn(learn, mesh, ALONE, batch=ROLLOUT, axis=1)
                learn = placed.lower(theta, state, *jax.tree.map(cast, given[0][2:])).compile()
            found[count] = [np.asarray(start)]
            for _, _, *rest in given:
                theta, state, _ = learn(theta, state, *jax.tree.map(cast, rest))
                assert theta.dtype == real
                found[count].append(np.asarray(theta))
    return found


def is_real(leaf: Any) -> bool:
    """Whether a leaf of a network is an array of real numbers."""
    import equinox as eqx

    return bool(eqx.is_inexact_array(leaf))


def main() -> None:
    """As the docstring of the module says."""
    import numpy as np
    from distributed import UPDATES, config_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=int, choices=(32, 64), default=64)
    parser.add_argument("keys", nargs="+")
    given = parser.parse_args()
    for key in given.keys:
        env, algo, network = key.split(",")
        found = chains(config_of(env, algo, network), UPDATES, given.bits)
        kind = f"float{given.bits}"
        row: dict[str, Any] = {"kind": kind, "env": env, "algo": algo, "network": network}
        for count in COUNTS[1:]:
            pairs = zip(found[1], found[count], strict=True)
            row[f"theta_{count}"] = [
                float(np.abs(many - one).max() / np.abs(one).max()) for one, many in pairs
            ]
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
