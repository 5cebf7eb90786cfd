"""RLHF in miniature: ``python benchmarks/lm/preferences.py [--seeds N]``.

A policy is started on demonstrations, a reward model is fitted to preferences between its samples,
and the policy maximises that model: freely, and held to its start by an adaptive price of a nat.
What people really like (the gold reward) is known, and written beside the learned one over
KL(policy‖start). Written to `results/lm_preferences.md`; seeds that are in the JSON beside it are
not repeated.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, machine, provenance, write
from tables import interval

SHARED: dict[str, Any] = {
    "prompts": 256,
    "max_new_tokens": 8,
    "max_prompt_tokens": 4,
    "truncation": "end",
    "steps": 60 * 256 * 8,
    "learning_rate": 1e-3,
    "max_kl": 0.02,
}
RUNS: dict[str, dict[str, Any]] = {
    # A price that is next to none, so that the KL is reported.
    "free": {"reference_coefficient": 1e-6},
    "held": {"reference_coefficient": 0.1, "reference_target": 0.75},
}
POINTS = 12


def trained(seed: int) -> dict[str, list[dict[str, float]]]:
    """The curves of the runs with one start and one reward model."""
    import jax

    import klamp.lm
    from klamp.lm.learning.preferences import (
        PRAISE,
        VOCABULARY,
        Compliments,
        fitted_to_samples,
        reward_function,
    )
    from klamp.lm.learning.supervised import WarmStart, warm_started
    from klamp.lm.networks.pretrained import Pretrained
    from klamp.lm.networks.untrained import random_decoder
    from klamp.lm.tasks.builtin import small_decoder
    from klamp.lm.tasks.task import demonstrate
    from klamp.lm.tokens.tokenizer import SymbolTokenizer

    game, made, shown, fit = Compliments(), *jax.random.split(jax.random.key(seed), 3)
    decoder = random_decoder(small_decoder(1 + len(VOCABULARY)), made)
    show = jax.tree_util.Partial(demonstrate, game, shown)
    decoder, _ = warm_started(decoder, show, WarmStart(steps=60), shown)
    learned = reward_function(fitted_to_samples(decoder, game, fit), game)

    def gold(completion_ids: Any) -> list[float]:
        most = game.length / 2
        return [1 - ((ids.count(PRAISE) - most) / most) ** 2 for ids in completion_ids]

    curves: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        Pretrained(decoder, SymbolTokenizer(VOCABULARY)).save(model)
        for name, own in RUNS.items():
            result = klamp.lm.train(
                str(model),
                "ppo",
                data=[{"prompt": "?"}] * SHARED["prompts"],
                reward=[learned, gold],
                reward_weights=[1.0, 0.0],
                out=Path(folder) / name,
                quiet=True,
                seed=seed,
                **SHARED,
                **own,
            )
            keys = ("reward_learned", "reward_gold", "kl_reference", "reference_coefficient")
            curves[name] = [
                {key: float(f"{line[key]:.5g}") for key in keys} for line in result.metrics
            ]
            shown = [tuple(round(line[key], 3) for key in keys) for line in curves[name][::5]]
            print(seed, name, *shown, sep="\n  ", flush=True)
    return curves


def report(seeds: list[dict[str, list[dict[str, float]]]]) -> str:
    """Learned and gold reward over the KL, and where each run ends."""
    lines = [
        "# RLHF in miniature",
        "",
        "`python benchmarks/lm/preferences.py`: the policy maximises a reward model fitted to",
        "preferences (Bradley–Terry) between samples of its start. The gold reward, at most 1, is",
        "what the preferences were drawn from. Means over seeds "
        f"({len(seeds)}); KL in nats a token.",
    ]
    for name in RUNS:
        lines += ["", f"## {name}", "", "| update | KL to the start | learned | gold |"]
        lines.append("|---|---|---|---|")
        curves = [seed[name] for seed in seeds]
        count = len(curves[0])
        for at in sorted({round(i * (count - 1) / (POINTS - 1)) for i in range(POINTS)}):
            means = [
                statistics.mean(curve[at][key] for curve in curves)
                for key in ("kl_reference", "reward_learned", "reward_gold")
            ]
            lines.append(f"| {at + 1} | {means[0]:.3f} | {means[1]:.2f} | {means[2]:.3f} |")
        first, best, last = (
            [pick([line["reward_gold"] for line in curve]) for curve in curves]
            for pick in (lambda gold: gold[0], max, lambda gold: statistics.mean(gold[-5:]))
        )
        lines += [
            "",
            "Gold at the start, at its best, at the end (last five updates), over seeds: "
            f"{interval(first)}; {interval(best)}; {interval(last)}.",
        ]
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    return "\n".join([*lines, "", about, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    kept = RESULTS / "lm_preferences.json"
    seeds: list[dict[str, list[dict[str, float]]]] = (
        json.loads(kept.read_text()) if kept.exists() else []
    )
    for seed in range(len(seeds), asked.seeds):
        seeds.append(trained(seed))
        write(kept, json.dumps(seeds) + "\n")
        write(RESULTS / "lm_preferences.md", report(seeds))


if __name__ == "__main__":
    main()
