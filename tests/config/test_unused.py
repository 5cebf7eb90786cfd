"""No setting passes that does nothing: each changes what is computed, or is refused and why."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args
from weakref import WeakKeyDictionary

import jax
import numpy as np
import pytest
from environments import probe
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.interpreters import partial_eval
from jax_environments import CartPole, Walk
from problems import bits

import klamp
from klamp.config.algorithms import ALGORITHMS
from klamp.config.presets import configure
from klamp.envs.source import resolve
from klamp.networks import build_network
from klamp.training.iteration import start
from klamp.training.state import behavior_policy

SMALL: dict[str, Any] = {"steps": 100_000, "num_envs": 2, "rollout_length": 8, "hidden_sizes": (4,)}
OTHERS: dict[str, tuple[Any, ...]] = {
    "seed": (1,),
    "num_envs": (3,),
    "shards": (2,),
    "rollout_length": (4,),
    "hidden_sizes": ((3,), ()),
    "recurrent_size": (3,),
    "sequence_length": (4,),
    "action_std": (0.4,),
    "action_std_minimum": (0.2,),
    "step_limit_s": (1.0,),
    "minibatch_size": (5,),
    "critic_minibatch_size": (5,),
    "clip_upper": (0.3,),
    "dual_clip": (2.0,),
    "cg_iterations": (3,),
    "fisher_subsample": (2,),
    "max_backtracks": (0, 3),
    "epochs": (1, 3),
    "critic_epochs": (1,),
}
"""Legal values besides the usual one, where halves, opposites and the other choices are none."""
OUTSIDE = {
    "steps",
    "checkpoint_interval",
    "keep_checkpoint_every",
    "step_limit_s",
    "eval_interval",
    "eval_episodes",
    "video_every",
    "stop_at_return",
    "stop_on_plateau",
}
"""Settings that change how many iterations there are and what is kept of them, but no iteration."""
CONTEXTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "continuous": (Walk(), {}),
    "discrete": (CartPole(), {}),
    "scheduled": (Walk(), {"action_scale": "scheduled"}),
    "recurrent": (Walk(), {"recurrent_size": 3, "sequence_length": 8}),
    "no layers": (Walk(), {"hidden_sizes": ()}),
    "returns": (Walk(), {"advantage_estimator": "return", "value_target": "monte-carlo"}),
}


SAID: WeakKeyDictionary[Jaxpr, bytes] = WeakKeyDictionary()
"""What the parts of programs say, as long as JAX keeps them: most flips change one part."""


def others(item: Any, value: Any) -> tuple[Any, ...]:
    """Legal values of a field other than the one it has."""
    if item.name in OTHERS:
        found: tuple[Any, ...] = OTHERS[item.name]
    elif isinstance(value, bool):
        found = (not value,)
    elif isinstance(value, float):
        found = (value / 2 if value else 0.3,)
    elif value is None:
        found = (0.015,)
    else:
        found = get_args(item.type)
    return tuple(other for other in found if other != value)


def computed(config: klamp.RunConfig, environment: Any) -> Iterator[Any]:
    """Piece by piece: what two iterations are given, and what their programs compute.

    Programs are less what nothing depends on. Metrics do not count: what changes them and not the
    run is no setting of the run.
    """
    run, state = start(config, environment=resolve(environment))
    states = [state._replace(step=np.asarray(step)) for step in (0, 3_000_000)]
    # Each shard is collected by a program of its own; that of the first is looked at.
    collector = getattr(run.collector, "collectors", [run.collector])[0]
    behaviors = [collector.arguments(behavior_policy(config, at)) for at in states]
    yield given(behaviors)
    rollout = jax.eval_shape(collector.program, *behaviors[0]).rollout
    rollout = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), rollout)
    reward_factor = np.ones((), np.float32)
    arguments = [run.learn_arguments(at, rollout, reward_factor) for at in states]
    yield given(arguments)
    yield needed(run.learn, arguments, (0, 1))
    yield needed(collector.program, behaviors, ("state", "rollout"))


def given(calls: Any) -> list[bytes]:
    """All numbers that calls are given."""
    return bits(jax.tree.map(_words, calls))


def needed(function: Any, calls: Any, wanted: tuple[Any, ...]) -> tuple[Any, list[bytes]]:
    """What some parts of a result depend on, and the numbers that stand in it."""
    # One program serves all calls.
    shapes = [jax.tree.map(jax.typeof, arguments) for arguments in calls]
    assert all(shape == shapes[0] for shape in shapes)
    traced, shape = jax.make_jaxpr(function, return_shape=True)(*calls[0])
    parts = shape._asdict() if hasattr(shape, "_asdict") else dict(enumerate(shape))
    used = [name in wanted for name, part in parts.items() for _ in jax.tree.leaves(part)]
    program, _ = partial_eval.dce_jaxpr(traced.jaxpr, used)
    return said(program), bits(traced.consts)


def said(value: Any) -> Any:
    """A program, or what an operation is told, to be compared: variables are told by number."""
    if isinstance(value, ClosedJaxpr):
        return said(value.jaxpr), bits(jax.tree.map(_words, value.consts))
    if isinstance(value, tuple | list):
        return tuple(map(said, value))
    if isinstance(value, Jaxpr):
        if value not in SAID:
            SAID[value] = hashlib.sha256(repr(operations(value)).encode()).digest()
        return SAID[value]
    # Where functions lie in memory is no part of what they compute.
    return re.sub(r"0x[0-9a-f]+", "", repr(value))


def operations(program: Jaxpr) -> list[Any]:
    """Of each operation its name, operands, results and parameters."""
    number: dict[Any, int] = {}

    def told(variable: Any) -> Any:
        if isinstance(variable, Literal):
            return repr(variable.val), str(variable.aval)
        return number.setdefault(variable, len(number)), str(variable.aval)

    found: list[Any] = [[told(variable) for variable in (*program.constvars, *program.invars)]]
    for equation in program.eqns:
        places = [told(variable) for variable in (*equation.invars, *equation.outvars)]
        parameters = {name: said(value) for name, value in equation.params.items()}
        found.append((equation.primitive.name, places, parameters))
    return [*found, [told(variable) for variable in program.outvars]]


def _words(leaf: Any) -> Any:
    """Keys as numbers."""
    typed = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if typed else leaf


def changes(algo: str, context: str) -> Iterator[tuple[str, Any, bool]]:
    """Every setting, flipped: its name, the value, and whether that changed what is computed.

    What is refused is left out.
    """
    environment, given = CONTEXTS[context]
    name = resolve(environment).name

    def configured(**more: Any) -> klamp.RunConfig:
        return configure(name, algo, {"normalize_observation": False} | SMALL | given | more)

    try:
        usual = configured()
        before = list(computed(usual, environment))
    except klamp.ConfigError:
        return
    assert list(computed(usual, environment)) == before, "the same is the same"
    for part in (usual.settings, usual.algorithm):
        for item in fields(part):
            if item.name in {*given, *OUTSIDE}:
                continue
            for value in others(item, getattr(part, item.name)):
                try:
                    flipped = configured(**{item.name: value})
                    # The first piece that differs is enough.
                    after = computed(flipped, environment)
                    changed = any(one != other for one, other in zip(after, before, strict=True))
                except klamp.ConfigError:
                    continue
                yield item.name, value, changed


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("algo", "context"),
    [(algo, context) for algo in ALGORITHMS for context in ("continuous", "discrete")]
    # What the others flip is the networks' and the estimates', alike for all.
    + [(algo, context) for algo in ("trpo", "ppo") for context in list(CONTEXTS)[2:]],
)
def test_a_setting_changes_what_is_computed_or_is_refused(algo: str, context: str) -> None:
    idle = [(name, value) for name, value, changed in changes(algo, context) if not changed]
    assert not idle


WITHOUT_V = {"baseline": "none"}
WITHOUT_VALUE_LOSS = {"value_coefficient": 0.0}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a fit that PPO has not": ("ppo", {"critic_epochs": 3}, "critic_epochs"),
    "a fit that PPO-KL has not": ("ppo-kl", {"critic_minibatch_size": 32}, "critic_minibatch_size"),
    "a fit that A2C has not": ("a2c", {"critic_learning_rate": 0.1}, "critic_learning_rate"),
    "a fit without V": ("reinforce", WITHOUT_V | {"critic_epochs": 3}, "critic_epochs"),
    "a target without V": ("reinforce", WITHOUT_V | {"value_target": "monte-carlo"}, "value_tar"),
    "λ of returns": ("reinforce", {"trace_decay": 0.9}, "trace_decay"),
    "λ without V": ("reinforce", WITHOUT_V | {"trace_decay": 0.9}, "trace_decay"),
    "minibatches of TRPO": ("trpo", {"advantage_normalization": "minibatch"}, "advantage_norm"),
    "minibatches of NPG": ("npg", {"advantage_normalization": "minibatch"}, "advantage_norm"),
    "a clip of no loss": ("ppo", WITHOUT_VALUE_LOSS | {"value_clip": 0.2}, "value_clip"),
    "a target of no loss": ("a2c", WITHOUT_VALUE_LOSS | {"value_target": "monte-carlo"}, "value_"),
    "a stop after the last epoch": ("ppo", {"epochs": 1, "target_kl": 0.1}, "target_kl"),
    "a search that is not made": ("trpo", {"max_backtracks": 0, "backtrack_ratio": 0.5}, "backtr"),
    "a schedule that is not followed": ("ppo", {"action_std_minimum": 0.2}, "action_std_minimum"),
    "a beginning that is scheduled": (
        "ppo",
        {"action_scale": "scheduled", "initial_log_std": -1.0},
        "initial_log_std",
    ),
    "sequences without a memory": ("ppo", {"sequence_length": 8}, "sequence_length"),
    "shared anyway": ("ppo", {"recurrent_size": 4, "shared_network": True}, "shared_network"),
    "layers that are none": ("ppo", {"hidden_sizes": (), "activation": "relu"}, "activation"),
    "units that are none": ("trpo", {"hidden_sizes": (), "dropout": 0.1}, "dropout"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_would_do_nothing_is_refused(row: str) -> None:
    algo, given, name = REFUSED[row]
    with pytest.raises(
        klamp.ConfigError, match=rf"`{name}\w*` of \w+ is .*, but would do nothing: "
    ):
        configure("Some-v0", algo, given)
    chosen = configure("Some-v0", algo, {})
    usual = {name: chosen.to_dict()[name] for name in given}
    assert configure("Some-v0", algo, usual | {"hidden_sizes": (64, 64)}) == chosen


def test_a_config_given_as_an_object_is_held_to_the_same() -> None:
    with pytest.raises(
        klamp.ConfigError, match=r"`target_kl` of PPO is 0\.1, but would do nothing"
    ):
        configure("Some-v0", klamp.PPO(epochs=1, target_kl=0.1), {})
    with pytest.raises(klamp.ConfigError, match="`critic_epochs` of Settings is 3, but would do"):
        configure("Some-v0", klamp.PPO(), {"critic_epochs": 3})


@pytest.mark.parametrize(
    ("baseline", "name", "given", "done"),
    [
        ("value", "advantage_estimator", "gae", "monte-carlo"),
        ("value", "value_target", "td-lambda", "monte-carlo"),
        ("none", "advantage_estimator", "monte-carlo", "return"),
        ("batch-mean", "advantage_normalization", "batch", "off"),
    ],
)
def test_what_the_baseline_stands_for_is_recorded_and_nothing_else_taken(
    baseline: str, name: str, given: str, done: str
) -> None:
    assert configure("Some-v0", "reinforce", {"baseline": baseline}).to_dict()[name] == done
    stored = klamp.RunConfig("Some-v0", klamp.REINFORCE(baseline=baseline)).to_dict()
    assert stored[name] == done
    wanted = f"`{name}` of Settings is '{given}', but must be '{done}', which the baseline"
    with pytest.raises(klamp.ConfigError, match=wanted):
        configure("Some-v0", "reinforce", {"baseline": baseline, name: given})
    if name == "value_target":
        # The run of an older version is read as what it was.
        older = klamp.RunConfig.from_dict(stored | {"advantage_estimator": "gae", name: given})
        assert older.to_dict() == stored


SPACES: dict[str, tuple[str, dict[str, Any], str]] = {
    "layers of an image": (probe("image"), {"hidden_sizes": (8,)}, "hidden_sizes"),
    "activation of an image": (probe("image"), {"activation": "relu"}, "activation"),
    "dropout of an image": (probe("image"), {"dropout": 0.1}, "dropout"),
    "bounds of choices": (probe(), {"action_bounds": "tanh"}, "action_bounds"),
    "scale of choices": (probe(), {"action_scale": "state"}, "action_scale"),
    "schedule of choices": (probe(), {"action_scale": "scheduled"}, "action_scale"),
    "mean of choices": (probe(), {"mean_activation": "tanh"}, "mean_activation"),
    "deviation of bits": (
        probe("box", "multibinary"),
        {"initial_log_std": -1.0},
        "initial_log_std",
    ),
    "deviation of a Beta": (
        probe("box", "box"),
        {"action_bounds": "beta", "initial_log_std": -1.0},
        "initial_log_std",
    ),
    "entropy that is scheduled": (
        probe("box", "box"),
        {"action_scale": "scheduled", "entropy_coefficient": 0.1},
        "entropy_coefficient",
    ),
}


@pytest.mark.parametrize("row", SPACES)
def test_what_the_spaces_leave_without_effect_is_refused(row: str, tmp_path: Path) -> None:
    env, given, name = SPACES[row]
    with pytest.raises(klamp.ConfigError, match=rf"`{name}` of \w+ is .*, but would do nothing: "):
        klamp.train(env, "ppo", out=tmp_path / "run", quiet=True, **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"), [("hidden_sizes", (8,)), ("shared_network", True), ("recurrent_size", 4)]
)
def test_what_describes_the_built_in_networks_is_refused_with_others(
    name: str, value: Any, tmp_path: Path
) -> None:
    def build(observation: Any, action: Any, key: Any) -> Any:
        return build_network(observation, action, klamp.Settings(), key=key)

    with pytest.raises(klamp.ConfigError, match=rf"`{name}` of Settings is .* would do nothing: "):
        klamp.train(probe(), network=build, out=tmp_path / "r", quiet=True, **{name: value})


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_library_that_steps_its_own_is_not_told_how(vectorization: str) -> None:
    with pytest.raises(klamp.ConfigError, match=r"`vectorization` of Settings is .* do nothing"):
        klamp.train(Walk(), vectorization=vectorization, quiet=True)
