"""Proof that the comparison of killed runs has teeth: each item of the state is dropped in turn.

    python benchmarks/reliability/controls.py

A run is stopped after some updates and gone on with; in each trial one saved array is replaced by
what it was at the start of the run. Every trial must end in another state than the run that went on
with all of them, or be refused. Writes ``results/controls.md``; exits with 1 where a drop went
unnoticed.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from lives import Case, cases, configuration

RESULTS = Path(__file__).parents[1] / "results" / "controls.md"
BEFORE, AFTER = 5, 4


def trials(case: Case) -> dict[str, bool]:
    """Each item that had changed since the start, and whether dropping it was noticed."""
    from klamp.runs.tensors import tensors_of
    from klamp.training.checkpointing import filled
    from klamp.training.iteration import start

    # Short rollouts: an episode must outlast one, for what is saved of it to matter.
    case = case._replace(settings=case.settings | {"rollout_length": 16})
    run, fresh = start(configuration(case, 10**6))
    at_start = run.position().arrays()
    state = fresh
    for _ in range(BEFORE):
        state, _ = run.advance(state)
    position, tensors = run.position().arrays(), tensors_of(state)
    beginnings = tensors_of(fresh)

    def ending(tensors: dict[str, Any], position: dict[str, Any]) -> Any:
        """Where the run comes to, update by update; None where it refuses to go on."""
        from klamp.errors import KlampError

        try:
            if run.restore(position):
                return None
            now, seen = filled(fresh, tensors, Path("here")), []
            for _ in range(AFTER):
                now, metrics = run.advance(now)
                arrays = tensors_of(now) | run.position().arrays()
                bytes_of = {name: array.tobytes() for name, array in arrays.items()}
                seen.append((str(metrics), bytes_of))
        except KlampError:
            return None
        return seen

    expected = ending(tensors, position)
    assert expected is not None
    assert expected == ending(tensors, position), "the run itself does not repeat"
    noticed: dict[str, bool] = {}
    for name, array in tensors.items():
        if not np.array_equal(array, beginnings[name]):
            trial = ending(tensors | {name: beginnings[name]}, position)
            noticed[f"state{name}"] = trial != expected
    for name, array in position.items():
        start_value = at_start.get(name)
        if start_value is None:
            rest = {other: kept for other, kept in position.items() if other != name}
        elif np.array_equal(array, start_value):
            continue
        else:
            rest = position | {name: start_value}
        noticed[f"position.{name}"] = ending(tensors, rest) != expected
    run.close()
    return noticed


def main() -> int:
    """Run all cases, say how it went, write the table."""
    rows = {name: trials(case) for name, case in cases().items()}
    missed = [
        f"{name}: {item}" for name, row in rows.items() for item, seen in row.items() if not seen
    ]
    lines = [
        "# Negative controls",
        "",
        "Made by `python benchmarks/reliability/controls.py`: one saved array at a time",
        "is replaced by its value at the start; the run that goes on must differ or be refused.",
        "",
        "| configuration | items dropped | noticed |",
        "|---|---|---|",
        *(f"| {name} | {len(row)} | {sum(row.values())} |" for name, row in rows.items()),
        "",
        *(f"- not noticed: {name}" for name in missed),
    ]
    RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    print("\n".join(lines))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
