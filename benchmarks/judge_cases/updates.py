"""Every number of a run, from its checkpoints and from what the environments wrote down."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import broken_runs
import numpy as np
import recorded
import references as ref
import runs
from case import Case, Promise, agree, must, read_metrics
from numpy_networks import Network, scaled

ALWAYS = (  # noqa: SIM905
    "step update time_s steps_per_second episodes return_mean length_mean surrogate_before "
    "surrogate_after kl kl_max entropy explained_variance value_loss clip_fraction ratio_max "
    "effective_sample_size outcome"
).split()
NATURAL = (  # noqa: SIM905
    "kl_predicted gain_predicted gain_actual step_scale backtracks cg_iterations cg_residual "
    "cg_status gradient_norm"
).split()
KEYS = {
    "trpo": NATURAL,
    "npg": NATURAL,
    "ppo": ["epochs", "learning_rate", "clip"],
    "ppo-kl": ["kl_coefficient"],
}


@dataclass(frozen=True)
class Moment:
    """One update: what was seen, the networks before and after, what was told."""

    what: str
    plan: runs.Plan
    config: dict[str, Any]
    told: dict[str, Any]
    seen: recorded.Experience
    before: recorded.Checkpoint
    after: recorded.Checkpoint

    def network(self, at: recorded.Checkpoint) -> Network:
        """The networks of a checkpoint."""
        return Network(self.config, self.plan.environment["action"], 3, at.theta)

    def scaled(self, observations: Any) -> Any:
        """Rows of observations as the networks saw them."""
        rows = observations.reshape(-1, observations.shape[-1])
        if not self.config["normalize_observation"]:
            return rows
        return scaled(rows, self.before.moments("observation"))


def judge(case: Case) -> str:
    """Train one random configuration; recompute all that it tells."""
    plan = runs.draw(case)
    with plan.named():
        return judge_run(case, plan)


def judge_run(case: Case, plan: runs.Plan) -> str:
    """One run, trained and recomputed."""
    before = getattr(case.plant, "before", lambda plan: plan)
    run = runs.train(case, before(plan))
    case.spoil(run)
    config = json.loads((run / "config.json").read_text())
    for name, value in plan.options.items():
        must(
            config[name] == (list(value) if isinstance(value, tuple) else value), f"config: {name}"
        )
    metrics, found = read_metrics(run), recorded.checkpoints(run)
    length = plan.options["rollout_length"]
    must(len(metrics) == len(found) - 1, f"{len(metrics)} updates, {len(found)} checkpoints")
    everything = recorded.of_log(case.folder / "log", length * len(metrics), plan.copies)
    for i, told in enumerate(metrics):
        what = f"update {i + 1}"
        seen = everything.part(i * length, (i + 1) * length)
        moment = Moment(what, plan, config, told, seen, found[i], found[i + 1])
        keys_are_there(moment)
        episodes_are_true(moment, everything.part(0, (i + 1) * length))
        moments_are_true(moment, everything.part(0, (i + 1) * length))
        if told["outcome"] == "NON_FINITE":
            must(False, f"{what}: NON_FINITE, but nothing is infinite or NaN")
        numbers_are_true(moment)
        region_is_true(moment)
    summary_is_true(run, metrics[-1])
    return plan.text()


def keys_are_there(m: Moment) -> None:
    """Every documented key."""
    missing = [key for key in (*ALWAYS, *KEYS.get(m.plan.algo, ())) if key not in m.told]
    must(not missing, f"{m.what}: metrics lack {missing}")


def episodes_are_true(m: Moment, so_far: recorded.Experience) -> None:
    """Steps, and the last 100 episodes in raw rewards."""
    agree(f"{m.what}: step", m.told["step"], so_far.weight.sum(), rtol=0, atol=0)
    returns, lengths = [], []
    total, length = np.zeros(so_far.weight.shape[1]), np.zeros(so_far.weight.shape[1])
    for t in range(len(so_far.weight)):
        total, length = total + so_far.reward[t], length + so_far.weight[t]
        for n in np.flatnonzero(so_far.ended[t]):
            returns.append(total[n])
            lengths.append(length[n])
            total[n] = length[n] = 0
    must(m.told["episodes"] == len(returns), f"{m.what}: episodes, expected {len(returns)}")
    if 0 < len(returns) <= 100:
        agree(
            f"{m.what}: return_mean", m.told["return_mean"], np.mean(returns), rtol=1e-5, atol=1e-5
        )
        agree(f"{m.what}: length_mean", m.told["length_mean"], np.mean(lengths), rtol=1e-9, atol=0)


def moments_are_true(m: Moment, so_far: recorded.Experience) -> None:
    """The normalisers' moments after this update, from all that was seen."""
    kept = so_far.weight > 0
    if m.config["normalize_observation"]:
        stored, expected = m.after.moments("observation"), ref.moments(so_far.seen[kept])
        for name, got, true in zip(
            ("samples", "mean", "deviations"), stored, expected, strict=True
        ):
            agree(f"{m.what}: observation {name}", got, true, rtol=1e-8, atol=1e-8)
    if m.config["normalize_reward"]:
        sums, running = np.zeros(so_far.reward.shape), np.zeros(so_far.reward.shape[1])
        for t in range(len(sums)):
            running = m.config["discount"] * running + so_far.reward[t]
            sums[t] = running
            running = np.where(so_far.ended[t], 0, running)
        expected = ref.moments(sums[kept])
        for name, got, true in zip(
            ("samples", "mean", "deviations"), m.after.moments("reward"), expected, strict=True
        ):
            agree(f"{m.what}: reward {name}", got, true, rtol=1e-5, atol=1e-5)


def numbers_are_true(m: Moment) -> None:
    """KL, entropy, ratios, surrogates and the critic's figures."""
    old, new = m.network(m.before), m.network(m.after)
    weight, x = m.seen.weight.ravel(), m.scaled(m.seen.seen)
    kept = weight > 0
    p, q = old.parameters(x), new.parameters(x)
    divergence = ref.kl(old.kind, p, q)
    true = ref.weighted(divergence, weight)
    # What float32 loses of μ/σ, and with it of the KL and of the ratios.
    coarse = float(np.max(np.abs(p["mean"]) * np.exp(-p["log_std"]))) if "mean" in p else 0.0
    lost = 1e-6 * (2 + coarse)
    rounding = lost * np.sqrt(2 * true) + lost**2 + 1e-7
    agree(f"{m.what}: kl", m.told["kl"], true, rtol=2e-3, atol=rounding)
    largest = np.max(divergence[kept])
    agree(f"{m.what}: kl_max", m.told["kl_max"], largest, rtol=5e-3, atol=rounding + 1e-6)
    entropy = ref.weighted(ref.entropy(old.kind, q), weight)
    loose = 2e-2 if old.kind == "squashed" else 1e-4
    agree(f"{m.what}: entropy", m.told["entropy"], entropy, rtol=1e-4, atol=loose)
    action, usable = old.stored(m.seen.action.reshape(len(kept), *m.seen.action.shape[2:]))
    ratio = None
    if np.all(usable[kept]) and coarse < 50:
        logs = [ref.log_prob(old.kind, each, action) for each in (p, q)]
        ratio = np.exp(logs[1] - logs[0])
        ratios_are_true(m, ratio, weight)
        acted_by_the_policy(m, old, p, logs[0], kept)
    if not m.config["normalize_reward"]:
        estimates_are_true(m, old, new, ratio)


def ratios_are_true(m: Moment, ratio: Any, weight: Any) -> None:
    """ratio_max, clip_fraction, effective_sample_size."""
    kept = weight > 0
    agree(f"{m.what}: ratio_max", m.told["ratio_max"], ratio[kept].max(), rtol=2e-3, atol=1e-4)
    size = ref.weighted(ratio, weight) ** 2 / ref.weighted(ratio**2, weight)
    agree(
        f"{m.what}: effective_sample_size", m.told["effective_sample_size"], size, rtol=2e-3, atol=0
    )
    clip = m.told["clip"] if m.plan.algo == "ppo" else 0.2
    far = np.abs(ratio - 1)
    least, most = (ref.weighted(far > clip + d, weight) for d in (1e-3, -1e-3))
    told = m.told["clip_fraction"]
    within = least - 1e-6 <= told <= most + 1e-6
    must(within, f"{m.what}: clip_fraction {told}, by definition {least} to {most}")


def acted_by_the_policy(m: Moment, old: Network, p: Any, logs: Any, kept: Any) -> None:
    """The actions look as if drawn from the policy that the checkpoint holds."""
    surprise = (-logs - ref.entropy(old.kind, p))[kept]
    spread = 1.0
    if old.kind == "categorical":
        all_logs = ref.log_softmax(p["logits"])
        second = np.sum(np.exp(all_logs) * all_logs**2, axis=1)
        spread = np.sqrt(np.sum(np.maximum(second - ref.entropy("categorical", p) ** 2, 0)[kept]))
    elif old.kind in ("gaussian", "state"):
        spread = np.sqrt(len(surprise))
    else:
        return
    score = abs(np.sum(surprise)) / max(spread, 1e-3)
    must(score < 7, f"{m.what}: actions are {score:.1f} standard errors from the policy's own")


def estimates_are_true(m: Moment, old: Network, new: Network, ratio: Any) -> None:
    """Advantages and targets by GAE in float64, and what is told of them."""
    grid, x = m.seen.weight.shape, m.scaled(m.seen.seen)
    value = old.value(x).reshape(grid)
    after = old.value(m.scaled(m.seen.after)).reshape(grid)
    discount, decay = m.config["discount"], m.config["trace_decay"]
    reward, terminated, truncated = m.seen.reward, m.seen.terminated, m.seen.truncated
    weight, kept = m.seen.weight.ravel(), m.seen.weight.ravel() > 0
    advantage = ref.gae(reward, value, after, terminated, truncated, discount, decay)
    if m.plan.algo == "reinforce":
        advantage = ref.returns(reward, after, terminated, truncated, discount) - value
    target = (advantage + value).ravel()
    scale = np.max(np.abs(target[kept])) + 1e-3
    loss = 0.5 * ref.weighted((new.value(x) - target) ** 2, weight)
    agree(f"{m.what}: value_loss", m.told["value_loss"], loss, rtol=1e-3, atol=1e-5 * scale**2)

    def variance(of: Any) -> float:
        return ref.weighted((of - ref.weighted(of, weight)) ** 2, weight)

    whole = variance(target)
    if whole > 1e-3 * scale**2:
        explained = 1 - variance(target - value.ravel()) / whole
        told = m.told["explained_variance"]
        agree(f"{m.what}: explained_variance", told, explained, rtol=1e-3, atol=1e-3)
    advantage = advantage.ravel()
    spread = np.sqrt(variance(advantage))
    if ratio is not None and spread > 1e-3 * scale and kept.sum() > 1:
        standard = (advantage - ref.weighted(advantage, weight)) / spread
        agree(f"{m.what}: surrogate_before", m.told["surrogate_before"], 0, rtol=0, atol=1e-4)
        expected = ref.weighted(ratio * standard, weight)
        told = m.told["surrogate_after"]
        agree(f"{m.what}: surrogate_after", told, expected, rtol=5e-3, atol=5e-4)


def region_is_true(m: Moment) -> None:
    """KL ≤ max_kl where it is promised; a refused update moves no policy."""
    old, new = m.network(m.before), m.network(m.after)
    x = m.scaled(m.seen.seen)
    true = ref.weighted(
        ref.kl(old.kind, old.parameters(x), new.parameters(x)), m.seen.weight.ravel()
    )
    outcome, limit = m.told["outcome"], m.config.get("max_kl")
    if m.plan.algo in ("trpo", "ppo") and limit is not None:
        must(true <= limit, f"{m.what}: {outcome}, true KL {true:.9g} = {true / limit:.6f} max_kl")
    if outcome not in ("ACCEPTED", "PROJECTED") and not m.config["shared_network"]:
        size = old.policy_size()
        same = m.before.theta[:size].tobytes() == m.after.theta[:size].tobytes()
        must(same, f"{m.what}: {outcome}, but the policy has moved")


def summary_is_true(run: Path, last: dict[str, Any]) -> None:
    """summary.json repeats the last values, and adds two times."""
    summary = json.loads((run / "summary.json").read_text())
    differ = [key for key, value in last.items() if summary.get(key) != value]
    must(not differ, f"summary.json: {differ} differ from the last line of metrics.jsonl")
    must("wall_s" in summary and "compile_s" in summary, "summary.json lacks wall_s or compile_s")
    must(summary["wall_s"] >= last["time_s"] - 1e-3, "summary.json: wall_s is below time_s")


PROMISE = Promise(
    name="updates",
    says="metrics, checkpoints and summary of a run are what the definitions give for what its "
    "environments showed; KL ≤ max_kl for TRPO and for PPO with max_kl",
    judge=judge,
    plants=broken_runs.PLANTS,
    share=4,
)
