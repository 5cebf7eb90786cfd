"""Batches with one number that is not finite: it may reach no parameter, moment or normaliser.

    python benchmarks/reliability/poison.py [--batches 10000] [--seed 0]

Every algorithm gets batches with one NaN or infinity at a random place: in the observations or the
rewards that an environment gave; in the advantages or value targets behind them; in what the
network sees during the update, so that the gradient is not finite. The state after each must be
finite, and the one before it to the bit. Writes ``results/poison.md``; exits with 1 otherwise.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lives import PPO, Case, configuration

RESULTS = Path(__file__).parents[1] / "results" / "poison.md"
ALGORITHMS = ("reinforce", "a2c", "npg", "trpo", "ppo", "ppo-kl")
IN_ROLLOUT = ("observation", "reward")
IN_BATCH = ("advantage", "value target", "gradient")
VALUES = (np.nan, np.inf, -np.inf)


def poisoned_update(run: Any) -> Any:
    """The jitted iteration, with a number of its batch replaced on the way to the update."""
    import jax
    import jax.numpy as jnp

    from klamp.algorithms import Context, implementation
    from klamp.mathematics.weighting import scored
    from klamp.training.learning import refuse_non_finite
    from klamp.training.prepare import prepare

    config, model = run.config, run.model
    parts = implementation(config.algorithm)

    def update(theta, state, rollout, scaling, factor, key, progress, where, row, value):
        batch = prepare(model, theta, rollout, scaling, factor, config.settings)

        def put(array: Any, number: int) -> Any:
            flat = array.reshape(len(array), -1)
            return jnp.where(where == number, flat.at[row, 0].set(value), flat).reshape(array.shape)

        seen = batch.inputs._replace(observation=put(batch.inputs.observation, 2))
        batch = batch._replace(
            advantage=put(batch.advantage, 0), value_target=put(batch.value_target, 1), inputs=seen
        )
        batch = scored(batch)
        context = Context(config.settings, model, key, progress)
        made = parts.update(config.algorithm, context, theta, state, batch)
        made = refuse_non_finite(theta, state, batch, made)
        return made.theta, made.state, made.outcome

    return jax.jit(update)


def poisoned_rollout(run: Any, state: Any, kind: str, row: int, value: Any) -> tuple[Any, Any]:
    """An iteration whose environments gave one number that is not finite."""
    collector = run.collector
    buffer = {"observation": collector._observation, "reward": collector._reward}[kind]
    kept, collect = buffer.copy(), collector.collect

    def collected(*_: Any, **__: Any) -> Any:
        buffer.reshape(len(buffer) * buffer.shape[1], -1)[row, 0] = value
        return collector._collected(normalized=True)

    collector.collect = collected
    after, metrics = run.advance(state)
    collector.collect = collect
    buffer[:] = kept
    return metrics, after


def trial(run: Any, state: Any, draw: np.random.Generator, count: int) -> dict[str, list[int]]:
    """Batches, refused ones, and states that were not finite or not as before, of each kind."""
    import jax
    import jax.numpy as jnp

    from klamp.collection.collector import BehaviorPolicy
    from klamp.runtime.seeding import Purpose, key
    from klamp.training.state import observation_scaling

    update = poisoned_update(run)
    seen = observation_scaling(run.config, state)
    collected = run.collector.collect(BehaviorPolicy(state.theta, seen, key(0, Purpose.ACT)))
    rollout = jax.tree.map(np.array, collected.rollout)
    one = jnp.asarray(1.0, jnp.float32)
    rows: dict[str, list[int]] = {kind: [0, 0, 0] for kind in (*IN_ROLLOUT, *IN_BATCH)}
    for number in range(count):
        kind = (*IN_ROLLOUT, *IN_BATCH)[number % 5]
        value = np.float32(draw.choice(VALUES))
        row = int(draw.integers(rollout.reward.size))
        if kind in IN_ROLLOUT:
            metrics, after = poisoned_rollout(run, state, kind, row, value)
            refused = metrics["outcome"] == "NON_FINITE"
            new = (after.theta, after.algorithm, after.observation_moments, after.reward_moments)
        else:
            where = IN_BATCH.index(kind)
            theta, algorithm, outcome = update(
                state.theta, state.algorithm, rollout, seen, one, key(0, Purpose.SHUFFLE), one,
                where, row, value,
            )  # fmt: skip
            refused = int(outcome) == 4
            new = (theta, algorithm, state.observation_moments, state.reward_moments)
        old = (state.theta, state.algorithm, state.observation_moments, state.reward_moments)
        pairs = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
        same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
        rows[kind][0] += 1
        rows[kind][1] += refused
        rows[kind][2] += not same
    return rows


def main() -> int:
    """Run all, say how it went, write the table."""
    from klamp.training.iteration import start
    from klamp.trust_region.report import Outcome

    assert int(Outcome.NON_FINITE) == 4
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines: list[str] = []
    total = wrong = 0
    for number, algorithm in enumerate(ALGORITHMS):
        settings = {"normalize_observation": True, "normalize_reward": True}
        settings |= PPO if algorithm.startswith("ppo") else {}
        run, state = start(configuration(Case("Pendulum-v1", algorithm, settings), 10**6))
        for _ in range(3):
            state, _ = run.advance(state)
        draw = np.random.default_rng(given.seed + number)
        rows = trial(run, state, draw, -(-given.batches // len(ALGORITHMS)))
        run.close()
        for kind, (batches, refused, changed) in rows.items():
            lines.append(f"| {algorithm} | {kind} | {batches} | {refused} | {changed} |")
            total, wrong = total + batches, wrong + changed
        print(f"{algorithm}: {total} batches so far, {wrong} that changed a state", flush=True)
    page = [
        "# Poison",
        "",
        "Made by `python benchmarks/reliability/poison.py`: one number of a batch is not finite;",
        "θ, the algorithm's state and the normalisers must be, to the bit, what they were.",
        "",
        "| algorithm | poison in | batches | refused | states that changed |",
        "|---|---|---|---|---|",
        *lines,
        "",
        f"{total:,} batches, {wrong} wrong.",
    ]
    RESULTS.write_text("\n".join(page) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
