"""Policies taken away, as ONNX and for numpy alone, beside the policy and the judge's own sums."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import broken_exports
import judge_worlds as worlds
import numpy as np
import recorded
from case import Case, Difference, Promise, agree, klamp, must, must_succeed
from numpy_policy_networks import Found, Policy
from safetensors.numpy import load_file, save_file

NAME = "judge_worlds:judge/World-v0"
ROWS = 60
STEPS = 3
TOLERANCE = 1e-5
ALONE = """
import pickle, sys
sys.modules["jax"] = sys.modules["klamp"] = None
from numpy_policy import NumpyPolicy
policy, asked = NumpyPolicy("policy.npz"), pickle.load(open("asked", "rb"))
found = [(policy(**inputs), policy.act(*seen)) for inputs, seen in asked]
ours = {"jax", "klamp", "scipy", "onnx", "gymnasium"} & {n for n, m in sys.modules.items() if m}
pickle.dump((found, sorted(ours)), open("answered", "wb"))
"""


@dataclass(frozen=True)
class Asked:
    """One batch: what a policy is shown."""

    batch: Any
    """Observations, without a mask."""
    mask: Any
    shown: Any
    """Observations as ``policy.act`` takes them."""


def judge(case: Case) -> str:
    """One policy with random parameters, in all its forms."""
    spec, algo, options = draw(case)
    said = f"{spec} {algo} {options}"
    try:
        judge_policy(case, spec, algo, options)
    except Difference as difference:
        raise Difference(f"{difference} (in {said})") from None
    return said


def draw(case: Case) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """A kind of observation and of action, and what policies there are for these."""
    # Pictures cost more to compile than all others together.
    often = [*worlds.OBSERVATIONS, "box", "box", "dict"]
    often = often if case.chance(0.5) else [n for n in often if n not in ("image", "frames")]
    seen, acts = case.choose(often), case.choose(worlds.ACTIONS)
    image, algo = seen in ("image", "frames"), case.choose(("a2c", "ppo", "ppo", "trpo"))
    spec = {"seen": seen, "acts": acts, "mask": "none"}
    if worlds.choices(worlds.ACTIONS[acts]) and case.chance(0.35):
        spec["mask"] = case.choose(("info", "observation"))
    options: dict[str, Any] = {
        "steps": 16,
        "num_envs": 2,
        "rollout_length": 8,
        "seed": int(case.rng.integers(2**40)),
        "normalize_observation": not image and seen != "bytes" and case.chance(0.6),
    }
    if not image:
        options["hidden_sizes"] = (5, 3)
        options["activation"] = case.choose(("tanh", "relu", "gelu", "silu", "elu"))
    if algo == "ppo":
        options |= {"minibatch_size": 16, "epochs": 1}
    if algo == "trpo":
        options |= {"critic_minibatch_size": 16, "critic_epochs": 1}
    if case.chance(0.35):
        options |= {"recurrent_size": int(case.rng.integers(2, 6)), "sequence_length": 4}
    elif case.chance(0.3):
        options["shared_network"] = True
    continuous = acts in ("box", "bounded", "dict", "tuple")
    if continuous and acts != "box":
        options["action_bounds"] = case.choose(("clip", "clip", "tanh", "beta"))
    if continuous and options.get("action_bounds") != "beta":
        options["action_scale"] = case.choose(("learned", "state", "scheduled"))
        options["mean_activation"] = case.choose(("none", "none", "tanh"))
        if options["action_scale"] == "scheduled":
            options |= {"action_std": 0.7, "action_std_decay": 0.01, "entropy_coefficient": 0.0}
            if algo == "trpo":
                del options["entropy_coefficient"]
    return spec, algo, options


def judge_policy(case: Case, spec: Any, algo: str, options: dict[str, Any]) -> None:
    """Train for one update, give it other parameters, export it."""
    names = case.facade("train", "load")
    run = case.folder / "run"
    names.train(NAME, algo, env_kwargs=spec, out=run, quiet=True, **options)
    at = stirred(case, run, calm=spec["seen"] in ("image", "frames"))
    config = json.loads((run / "config.json").read_text())
    must(config["env_kwargs"] == spec, f"config.json: env_kwargs are {config['env_kwargs']}")
    policy = names.load(run)
    decided = config["action_std"] - config["action_std_decay"] * at.step
    own = Policy(
        config,
        worlds.OBSERVATIONS[spec["seen"]],
        worlds.ACTIONS[spec["acts"]],
        at.theta,
        at.moments("observation") if config["normalize_observation"] else None,
        float(np.log(max(decided, config["action_std_minimum"]))),
    )
    asked = [ask(case, spec, own) for _ in range(STEPS if config["recurrent_size"] else 1)]
    written = policy.export(case.folder / "policy.npz")
    must(
        sorted(path.name for path in written) == ["numpy_policy.py", "policy.npz"],
        f"policy.export wrote {written}",
    )
    policy.export(case.folder / "policy.onnx")
    session = onnx_session(case.folder / "policy.onnx")
    inputs, by_onnx = in_steps(own, asked, lambda given: run_onnx(session, given))
    by_numpy = alone(case, list(zip(inputs, asked, strict=True)))
    policy.reset()
    for step, one in enumerate(asked):
        hidden = by_onnx[step - 1]["next_hidden_state"] if step else None
        both = {"ONNX": by_onnx[step], "numpy": by_numpy[step][0]}
        judge_step(own, spec, one, hidden, both, by_numpy[step][1], policy)
    if case.chance(0.15):
        by_command(case, own, asked, by_onnx)


def stirred(case: Case, run: Path, *, calm: bool) -> recorded.Checkpoint:
    """The last checkpoint with other parameters, by which actions differ more."""
    folder = max((run / "checkpoints").iterdir())
    arrays = load_file(folder / "tensors.safetensors")
    theta = arrays["['state'].theta"]
    noise = case.rng.normal(size=theta.shape) * (0.01 if calm else 0.3)
    arrays["['state'].theta"] = (theta * (1 if calm else case.rng.uniform(0.5, 2)) + noise).astype(
        theta.dtype
    )
    save_file(arrays, folder / "tensors.safetensors")
    recorded.sign(folder)
    return recorded.checkpoints(run)[-1]


def ask(case: Case, spec: Any, own: Policy) -> Asked:
    """Random observations of the space, and masks."""
    own.seen.seed(int(case.rng.integers(2**31)))
    batch = stacked(own.seen, [own.seen.sample() for _ in range(ROWS)])
    if spec["mask"] == "none":
        return Asked(batch, None, batch)
    mask = worlds.random_mask(case.rng, worlds.choices(own.acts), ROWS)
    shown = {"action_mask": mask.astype(np.int8), "seen": batch}
    return Asked(batch, mask, shown if spec["mask"] == "observation" else batch)


def stacked(space: Any, samples: list[Any]) -> Any:
    """Samples of a space as one batch."""
    inner = worlds.parts(space)
    if not inner:
        return np.stack([np.asarray(sample) for sample in samples])
    found = {key: stacked(part, [sample[key] for sample in samples]) for key, part in inner}
    return found if isinstance(samples[0], dict) else tuple(found.values())


def named(name: str, value: Any) -> dict[str, Any]:
    """The parts of a Dict or Tuple by the names that they have in an export."""
    if isinstance(value, dict | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in pairs for k, v in named(f"{name}.{key}", part).items()}
    return {name: np.asarray(value)}


def in_steps(own: Policy, asked: list[Asked], run: Any) -> tuple[list[Any], list[Any]]:
    """What an export is given and says at one step after another, its memory handed on."""
    given: list[dict[str, np.ndarray]] = []
    found: list[dict[str, np.ndarray]] = []
    size = own.config["recurrent_size"]
    for step, one in enumerate(asked):
        inputs = named("observation", one.batch)
        if one.mask is not None:
            inputs["action_mask"] = one.mask
        if size:
            # At the first step whatever the memory holds is to be forgotten.
            before = found[-1]["next_hidden_state"] if step else np.full((ROWS, size), 7.0)
            inputs["hidden_state"] = before.astype(np.float32)
            inputs["episode_start"] = np.full(ROWS, step == 0)
        given.append(inputs)
        found.append(run(inputs))
    return given, found


def onnx_session(path: Path) -> Any:
    """The model in the runtime that most people have."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every output by name; an input of another name or dtype is a difference."""
    wanted = sorted(one.name for one in session.get_inputs())
    must(wanted == sorted(inputs), f"ONNX: inputs {wanted}, by the documentation {sorted(inputs)}")
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def alone(case: Case, asked: list[Any]) -> list[Any]:
    """The numpy form, in a process that has neither JAX nor klamp."""
    given = [
        (inputs, (one.batch,) if one.mask is None else (one.batch, one.mask))
        for inputs, one in asked
    ]
    (case.folder / "asked").write_bytes(pickle.dumps(given))
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=case.folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    must(done.returncode == 0, f"numpy_policy.py by itself: {done.stderr[-300:]}")
    found, ours = pickle.loads((case.folder / "answered").read_bytes())
    must(not ours, f"numpy_policy.py imports {ours}")
    return found


def judge_step(
    own: Policy, spec: Any, one: Asked, hidden: Any, both: Any, acted: Any, policy: Any
) -> None:
    """One batch: the policy, both exports, and the sums in float64."""
    expected, near = own(one.batch, one.mask, hidden), roundings(own, one, hidden)
    mask = one.mask if spec["mask"] == "info" else None
    distribution_is_true(own, policy.distribution(one.shown, mask), expected, near)
    told = policy.value(one.shown)
    compare("policy.value", told, expected.value, near.value)
    action = named("action", policy.act(one.shown, deterministic=True, action_mask=mask))
    for name, array in action.items():
        compare(f"policy.act: {name}", array, expected.action[name], near.action[name], expected)
    for what, outputs in both.items():
        wanted = sorted(names_of(expected))
        must(sorted(outputs) == wanted, f"{what}: outputs {sorted(outputs)}, documented {wanted}")
        compare(f"{what}: value", outputs["value"], told, near.value)
        for name, array in action.items():
            must(outputs[name].dtype == array.dtype, f"{what}: {name} is {outputs[name].dtype}")
            compare(f"{what}: {name}", outputs[name], array, near.action[name], expected)
        for name, array in expected.parameters.items():
            forms = (outputs[name], array, near.parameters[name])
            # Of what is masked nothing more is said than that it is not chosen.
            compare(f"{what}: {name}", *(np.where(np.isfinite(array), form, 0) for form in forms))
        if expected.hidden is not None:
            compare(f"{what}: memory", outputs["next_hidden_state"], expected.hidden, near.hidden)
    for name, array in named("action", acted).items():
        compare(f"NumpyPolicy.act: {name}", array, action[name], near.action[name], expected)


def names_of(found: Found) -> list[str]:
    """Every documented output."""
    memory = [] if found.hidden is None else ["next_hidden_state"]
    return [*found.action, *found.parameters, "value", *memory]


def roundings(own: Policy, one: Asked, hidden: Any) -> Found:
    """The same with each parameter moved by a unit of its last place in float32."""
    signs = np.where(np.arange(len(own.theta)) % 3, 1, -1)
    theta = own.theta + signs * np.spacing(np.abs(own.theta))
    other = Policy(own.config, own.seen, own.acts, theta, own.moments, own.log_std)
    return other(one.batch, one.mask, hidden)


def compare(what: str, got: Any, expected: Any, near: Any, found: Found | None = None) -> None:
    """Equal to 1e-5 of 1 or of the largest, or to ten roundings of the parameters; no ties."""
    got, expected = np.asarray(got), np.asarray(expected)
    name = what.rpartition(": ")[2]
    if found is not None and name in found.sure and expected.dtype.kind != "f":
        must(got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}")
        sure = found.sure[name]
        return agree(what, got[sure], expected[sure], rtol=0, atol=0)
    reference = found.action[name] if found is not None else expected
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    rounded = float(np.max(np.abs(np.asarray(near) - reference), initial=0))
    return agree(what, got, expected, rtol=0, atol=max(TOLERANCE * scale, 10 * rounded))


def distribution_is_true(own: Policy, told: Any, expected: Found, near: Found) -> None:
    """Probabilities and entropy."""
    if expected.entropy is not None:
        off = 10 * float(np.max(np.abs(near.entropy - expected.entropy)))
        agree("distribution.entropy", told.entropy, expected.entropy, rtol=1e-5, atol=1e-4 + off)
    inner = worlds.parts(own.acts) or [(None, own.acts)]
    for key, space in inner:
        given = told.probabilities if key is None else told.probabilities[key]
        sizes = worlds.choices(space)
        if not sizes:
            continue
        logits = expected.parameters["logits" if key is None else f"logits.{key}"]
        given = given if isinstance(given, tuple) else (given,)
        for got, part in zip(given, np.split(logits, np.cumsum(sizes)[:-1], axis=1), strict=True):
            share = np.exp(part - part.max(axis=1, keepdims=True))
            share /= share.sum(axis=1, keepdims=True)
            agree("distribution.probabilities", got, share, rtol=0, atol=1e-5)


def by_command(case: Case, own: Policy, asked: list[Asked], expected: list[Any]) -> None:
    """``klamp export`` writes the same."""
    ended = klamp(case, "export", "run", "--format", "onnx", "--out", "again.onnx")
    must_succeed(ended, "klamp export")
    session = onnx_session(case.folder / "again.onnx")
    _, again = in_steps(own, asked, lambda given: run_onnx(session, given))
    for first, second in zip(expected, again, strict=True):
        for name, array in first.items():
            agree(f"klamp export: {name}", second[name], array, rtol=0, atol=0)


PROMISE = Promise(
    name="exports",
    says="an exported policy, by onnxruntime and by numpy without JAX, does what `policy.act` does "
    "to 1e-5, for every kind of space; both do what their parameters say in float64",
    judge=judge,
    plants=broken_exports.PLANTS,
    share=3,
    limit_s=150,
    quick=True,
)
