"""TRPO with a trunk that policy and critic share, beside TRPO with separate networks.

``python benchmarks/shared_trunk.py`` trains both for 200 updates by the presets, over seeds, and
writes ``results/shared_trunk.md`` and ``shared_trunk.json`` (the curves of every run) after every
run; a run that is in the file at the same commit is not made again. Three questions: does any
update leave the trust region, how many more steps does the shared trunk need to a threshold, and
how good is it in the end?
"""

import argparse
import contextlib
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

UPDATES = 200
SEEDS = 5
BOUND = 1.5
"""Times the steps of separate networks that a shared trunk may need, by the medians."""
EPISODES = 100
"""The threshold is met by a mean over so many training episodes, not by the first few."""
THRESHOLDS = {"CartPole-v1": 475.0, "Pendulum-v1": -250.0}
"""The thresholds of `learning.py`."""
KINDS = {"separate": False, "shared": True}

Run = dict[str, Any]


def main() -> None:
    """Train what is not there yet; write after every run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds 0 to this, exclusive")
    parser.add_argument("--env", choices=THRESHOLDS, nargs="+", default=list(THRESHOLDS))
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder of the results")
    parser.add_argument("--page", action="store_true", help="train nothing, write the page anew")
    options = parser.parse_args()
    path = options.out.resolve() / "shared_trunk.json"
    if options.page:
        document = json.loads(path.read_text(encoding="utf-8"))
        harness.write(path.with_suffix(".md"), page(document["runs"], document))
        return
    document = harness.resumed(path, "runs")
    for seed in range(options.seeds):
        for env in options.env:
            for kind in KINDS:
                if f"{env}, {kind}, {seed}" in document["runs"]:
                    continue
                run = train(env, kind, seed)
                document["runs"][f"{env}, {kind}, {seed}"] = run
                print(f"{env}, {kind}, seed {seed}: {one_line(run)}", flush=True)
                harness.write(path, json.dumps(document) + "\n")
                harness.write(path.with_suffix(".md"), page(document["runs"], document))
    print(f"Written: {path.with_suffix('.md')}, {path.name}")


def train(env: str, kind: str, seed: int) -> Run:
    """One run by the preset, in a folder that is thrown away; the figures of its updates."""
    import klamp

    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        began = time.perf_counter()
        result = klamp.train(
            env,
            "trpo",
            # Rows in which an environment resets are no steps: the last updates may be left over.
            steps=UPDATES * batch_size(env),
            seed=seed,
            shared_network=KINDS[kind],
            out=Path(scratch) / "run",
            quiet=True,
        )
        wall = time.perf_counter() - began
    lines = result.metrics[:UPDATES]
    max_kl = result.policy.config.algorithm.max_kl
    return {
        "env": env,
        "kind": kind,
        "seed": seed,
        "wall_s": wall,
        "updates": len(lines),
        "max_kl": max_kl,
        "largest_kl_share": max(line["kl"] for line in lines) / max_kl,
        "accepted": sum(line["outcome"] == "ACCEPTED" for line in lines),
        "steps_to_threshold": steps_to(lines, THRESHOLDS[env]),
        "final_return": lines[-1]["return_mean"],
        "fit_kept": statistics.fmean(line.get("critic_fit_kept", 1.0) for line in lines),
        "curve": [[line["step"], round_or_none(line["return_mean"])] for line in lines],
        "kl_share": [float(f"{line['kl'] / max_kl:.5g}") for line in lines],
    }


def batch_size(env: str) -> int:
    """Rows of an update, by the preset."""
    from klamp.config.presets import configure

    settings = configure(env, "trpo", {}).settings
    return settings.num_envs * settings.rollout_length


def steps_to(lines: list[dict[str, Any]], threshold: float) -> int | None:
    """Environment steps when the mean of the last 100 training episodes first reached it."""
    for line in lines:
        if line["episodes"] >= EPISODES and line["return_mean"] >= threshold:
            return line["step"]
    return None


def round_or_none(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else round(number, 2)


def one_line(run: Run) -> str:
    """Show a run on the terminal."""
    return (
        f"largest kl {run['largest_kl_share']:.6f} max_kl, threshold after "
        f"{show(run['steps_to_threshold'])} steps, final return {run['final_return']:.1f}, "
        f"{run['wall_s']:.0f} s"
    )


def show(steps: float | None) -> str:
    return "never" if steps is None or math.isinf(steps) else f"{steps:,.0f}"


def needed(runs: list[Run]) -> list[float]:
    """Steps to the threshold; a run that never came there counts as infinite."""
    return [math.inf if r["steps_to_threshold"] is None else r["steps_to_threshold"] for r in runs]


def over(a: float, b: float) -> float:
    """a/b, infinite where a is, and where both are (nothing was learnt)."""
    return math.inf if math.isinf(a) else a / b


def page(runs: dict[str, Run], document: dict[str, Any]) -> str:
    """`shared_trunk.md`: the summary, then every seed."""
    about, machine = document["provenance"], document["machine"]
    lines = [
        "# Shared trunk",
        "",
        f"Made by `python benchmarks/shared_trunk.py`: TRPO, {UPDATES} updates by the preset, with "
        "`shared_network` and without. The KL is the exact mean KL(old‖new) over the whole batch "
        "of the *whole* update, the critic's fit included. The threshold is met when the mean "
        f"return of the last {EPISODES} training episodes first reaches it; the ratio is that of "
        f"the medians over seeds, wanted at most {BOUND}. Final return: the same mean after the "
        "last update. The verdict is of these two rules, not of the final returns.",
        "",
        f"- klamp {about['klamp']} at {about.get('commit', 'an unknown commit')}, {about['date']}",
        f"- {machine['processor']}; {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; load before: {machine['load_before']}",
        "",
        "| environment | seeds | threshold | steps, separate | steps, shared | ratio of medians "
        "| median (range) of ratios by seed | final, separate: median (worst) "
        "| final, shared: median (worst) "
        "| largest kl/max_kl, separate | shared | verdict |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    for env, threshold in THRESHOLDS.items():
        pairs = paired(runs, env)
        if pairs:
            lines.append(summary_row(env, threshold, pairs))
    lines += ["", fallen_back(runs)]
    lines += [
        "",
        "| environment | networks | seed | steps to threshold | final return | largest kl/max_kl "
        "| steps accepted | part of the critic's fit kept, mean | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    order = sorted(runs.values(), key=lambda run: (run["env"], run["kind"], run["seed"]))
    lines += [
        f"| {run['env']} | {run['kind']} | {run['seed']} | {show(run['steps_to_threshold'])} "
        f"| {run['final_return']:.1f} | {run['largest_kl_share']:.6f} | {run['accepted']} of "
        f"{run['updates']} | {run['fit_kept']:.3f} | {run['wall_s']:.0f} |"
        for run in order
    ]
    return "\n".join(lines) + "\n"


def fallen_back(runs: dict[str, Run]) -> str:
    """Name the runs that reached the threshold and ended below it: no median shows them."""
    fallen = [
        f"{run['env']}, {run['kind']}, seed {run['seed']} ({run['final_return']:.1f})"
        for run in runs.values()
        if run["steps_to_threshold"] and run["final_return"] < THRESHOLDS[run["env"]]
    ]
    return f"Reached the threshold and ended below it: {'; '.join(fallen) or 'none'}."


def paired(runs: dict[str, Run], env: str) -> list[tuple[Run, Run]]:
    """(separate, shared) of every seed that has both."""
    of_env = {(run["kind"], run["seed"]): run for run in runs.values() if run["env"] == env}
    seeds = sorted(seed for kind, seed in of_env if kind == "shared")
    return [
        (of_env["separate", s], of_env["shared", s]) for s in seeds if ("separate", s) in of_env
    ]


def summary_row(env: str, threshold: float, pairs: list[tuple[Run, Run]]) -> str:
    """One environment: both kinds side by side, and whether both bounds hold."""
    separate, shared = (list(runs) for runs in zip(*pairs, strict=True))
    middle = [statistics.median(needed(runs)) for runs in (separate, shared)]
    ratio = over(middle[1], middle[0])
    each = [over(a, b) for a, b in zip(needed(shared), needed(separate), strict=True)]
    ends = [[run["final_return"] for run in runs] for runs in (separate, shared)]
    final = [f"{statistics.median(end):.1f} ({min(end):.1f})" for end in ends]
    largest = [max(run["largest_kl_share"] for run in runs) for runs in (separate, shared)]
    met = ratio <= BOUND and max(largest) <= 1
    return (
        f"| {env} | {len(pairs)} | {threshold:g} | {show(middle[0])} | {show(middle[1])} "
        f"| {ratio:.2f} | {statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f}) "
        f"| {final[0]} | {final[1]} | {largest[0]:.6f} | {largest[1]:.6f} "
        f"| **{'met' if met else 'missed'}** |"
    )


if __name__ == "__main__":
    main()
