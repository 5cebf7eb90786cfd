"""SIGKILL at random moments of language-model runs: θ, metrics and completions to the byte.

    python benchmarks/reliability/language_kills.py [--kills 10] [--only 'ppo*'] [--seed 0]

As ``kills.py``, for each preset of ``klamp.lm`` and for runs of several turns. Writes
``results/lm_kills.md``; exits with 1 where anything differed. Rows are kept in
``results/lm_kills.json``, and those that are there with as many kills are not repeated.
"""

import argparse
import fnmatch
import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import RESULTS, machine, provenance, write
from kills import table, torment
from language_cases import STEPS, language_cases, model
from lives import processes

KEPT = RESULTS / "lm_kills.json"


def main() -> int:
    """Run what is missing, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="for each configuration")
    parser.add_argument("--only", default="*")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    context = processes(["klamp.lm.training.train", "klamp.algorithms"])
    model()
    for number, (name, case) in enumerate(language_cases().items()):
        if not fnmatch.fnmatch(name, given.only) or rows.get(name, [0])[0] >= given.kills:
            continue
        with tempfile.TemporaryDirectory() as place:
            draw = random.Random(given.seed + number)
            rows[name] = torment(context, case, STEPS, Path(place), given.kills, draw)
        print(name, *rows[name], flush=True)
        write(KEPT, json.dumps(rows, indent=1) + "\n")
        write(RESULTS / "lm_kills.md", page(rows))
    return int(any(row[2] or row[3] for row in rows.values()))


def page(rows: dict[str, list[int]]) -> str:
    """The table."""
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    head = [
        "# Kills of language-model runs",
        "",
        "Made by `python benchmarks/reliability/language_kills.py`: SIGKILL at random times of the",
        "loop (60 of 100), at random calls to the disk (30) and while starting (10), each followed",
        f"by a resume; the run ({STEPS:,} sampled tokens) is compared with one that was never",
        "stopped, byte for byte: every number of the last checkpoint, every line of metrics (times",
        "apart), every completion that was kept.",
        "",
    ]
    return "\n".join([*head, *table([(name, *row) for name, row in rows.items()]), "", about, ""])


if __name__ == "__main__":
    sys.exit(main())
