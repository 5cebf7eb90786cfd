"""Bad settings, B1 to B23 of the catalogue (docs/bad-input.md): refused when they are made.

What can be typed is typed: the command exits with 2, says one paragraph, and leaves no file.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from jax_environments import Walk
from stored import Messages

import klamp
from klamp.cli.main import main
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.runtime.seeding import Purpose, environment_seed

MESSAGES = Messages("settings")

LAST_OF_ONE = "--advantage-normalization minibatch --num-envs 1 --rollout-length 129"
TYPED = {
    "B1 misspelt option": "--learning-rat 3e-4",
    "B2 learning_rate=-1": "--learning-rate -1",
    "B2 learning_rate=0": "--learning-rate 0",
    "B2 learning_rate=nan": "--learning-rate nan",
    "B2 learning_rate=inf": "--learning-rate inf",
    "B2 learning_rate=text": "--learning-rate fast",
    "B2 critic_learning_rate=-inf": "--algo trpo --critic-learning-rate=-inf",
    "B3 discount=1.5": "--discount 1.5",
    "B3 trace_decay=-0.1": "--trace-decay -0.1",
    "B3 discount=nan": "--discount nan",
    "B4 clip=0": "--clip 0",
    "B4 target_kl=0": "--target-kl 0",
    "B4 max_kl=-0.01": "--max-kl -0.01",
    "B4 damping=-1": "--algo trpo --damping -1",
    "B4 clip_upper=-0.2": "--clip-upper -0.2",
    "B4 dual_clip=1": "--dual-clip 1",
    "B5 seed=-1": "--seed -1",
    "B5 seed=2**63": f"--seed {2**63}",
    "B5 seed=1.5": "--seed 1.5",
    "B7 num_envs=0": "--num-envs 0",
    "B7 num_envs=-3": "--num-envs -3",
    "B7 num_envs=2.0": "--num-envs 2.0",
    "B7 num_envs=10**9": "--num-envs 1000000000",
    "B7 rollout_length=10**12": "--rollout-length 1000000000000 --steps 1e13",
    "B8 steps below one rollout": "--steps 100",
    "B9 steps=1e6+0.5": "--steps 1000000.5",
    "B9 steps=1e-3": "--steps 1e-3",
    "B11 minibatch above the batch": "--num-envs 4 --rollout-length 8 --minibatch-size 33",
    "B11 critic minibatch above batch": "--algo npg --rollout-length 4 --critic-minibatch-size 40",
    "B11 minibatch below a sequence": "--recurrent-size 8 --minibatch-size 16",
    "B11 sequence does not divide": "--recurrent-size 8 --rollout-length 100",
    "B12 epochs=0": "--epochs 0",
    "B12 critic_epochs=-2": "--algo trpo --critic-epochs -2",
    "B13 minibatch of one": "--advantage-normalization minibatch --minibatch-size 1",
    "B13 batch of one": "--num-envs 1 --rollout-length 1",
    "B14 last minibatch of one": LAST_OF_ONE,
    "B15 entropy_coefficient=nan": "--entropy-coefficient nan",
    "B15 value_coefficient=-1": "--value-coefficient -1",
    "B16 final_learning_rate=nan": "--final-learning-rate nan",
    "B16 schedule of nothing": "--schedule-steps 5000",
    "Bx two rules for the step size": "--final-learning-rate 0 --adaptive-learning-rate 0.01",
    "B20 cg_iterations=0": "--algo trpo --cg-iterations 0",
    "B20 backtrack_ratio=1": "--algo trpo --backtrack-ratio 1",
    "B20 max_backtracks=-1": "--algo trpo --max-backtracks -1",
    "B22 hidden_sizes=0": "--hidden-sizes 64 0",
    "B22 hidden_sizes=-64": "--hidden-sizes -64",
    "B22 hidden_sizes='64,64'": "--hidden-sizes 64,64",
    "B23 activation": "--activation tanhh",
    "B23 action_bounds": "--action-bounds clipp",
    "B23 baseline": "--algo reinforce --baseline median",
    "Bx checkpoint_interval=0": "--checkpoint-interval 0",
    "Bx nothing done: a fit that PPO has not": "--critic-epochs 3",
    "Bx nothing done: a fit without V": "--algo reinforce --baseline none --critic-epochs 3",
    "Bx nothing done: λ of returns": "--algo reinforce --trace-decay 0.9",
    "Bx nothing done: minibatches of TRPO": "--algo trpo --advantage-normalization minibatch",
    "Bx nothing done: no schedule": "--action-std 0.3",
    "Bx nothing done: no memory": "--sequence-length 8",
    "Bx nothing done: no hidden layers": "--hidden-sizes --activation relu",
    "B31 argument of no such name": "--env-kwargs gravty=-5",
    "B31 argument without a value": "--env-kwargs gravity",
    "B31 argument twice": "--env-kwargs gravity=-5 gravity=-6",
    "B31 wrapper of no such name": "--wrappers frame-stak=4",
    "B31 wrapper without its value": "--wrappers frame-stack",
    "B31 wrapper with a value that is none": "--wrappers time-limit=soon",
    "B31 wrapper with a value that it takes none of": "--wrappers flatten=2",
    "B31 wrapper of no such module": "--wrappers no_such_module:Shaped",
    "Bx nothing done: actions without bounds": "--action-bounds tanh",
    "Bx nothing done: actions without a scale": "--initial-log-std -1",
    "Bx estimator of another baseline": "--algo reinforce --advantage-estimator gae",
}


class TextThatTells:
    """Something that is no setting at all."""

    def __repr__(self) -> str:
        return "TextThatTells()"


CALLED: dict[str, Callable[[], Any]] = {
    "B1 misspelt keyword": lambda: klamp.train("CartPole-v1", learning_rat=3e-4),
    "B1 unknown keyword": lambda: klamp.train("CartPole-v1", "trpo", zzz=3e-4),
    "B1 keyword of another library": lambda: klamp.train("CartPole-v1", gamma=0.9),
    "B1 keyword of another algorithm": lambda: klamp.train("CartPole-v1", "trpo", n_epochs=3),
    "B1 keyword of the algorithm": lambda: klamp.train("CartPole-v1", klamp.PPO(), clip=0.1),
    "B1 unknown key": lambda: RunConfig.from_dict({"env": "CartPole-v1", "algo": "ppo", "clp": 1}),
    "B1 key of another algorithm": lambda: RunConfig.from_dict(
        {"env": "CartPole-v1", "algo": "ppo", "damping": 0.1}
    ),
    "B1 configuration without algorithm": lambda: RunConfig.from_dict({"env": "CartPole-v1"}),
    "B1 algorithm is a list": lambda: RunConfig.from_dict({"env": "CartPole-v1", "algo": []}),
    "B1 algorithm is misspelt": lambda: klamp.train("CartPole-v1", "tppo"),
    "B1 algorithm is a class": lambda: klamp.train("CartPole-v1", klamp.PPO),  # type: ignore[arg-type]
    "B1 algorithm is something else": lambda: klamp.train("CartPole-v1", TextThatTells()),  # type: ignore[arg-type]
    "B2 learning_rate='3e-4'": lambda: klamp.PPO(learning_rate="3e-4"),  # type: ignore[arg-type]
    "B2 learning_rate=True": lambda: klamp.PPO(learning_rate=True),
    "B2 learning_rate=array": lambda: klamp.PPO(learning_rate=np.ones(2)),  # type: ignore[arg-type]
    "B2 learning_rate=None": lambda: klamp.PPO(learning_rate=None),  # type: ignore[arg-type]
    "B3 discount='0.9'": lambda: Settings(discount="0.9"),  # type: ignore[arg-type]
    "Bx normalize_reward='no'": lambda: Settings(normalize_reward="no"),  # type: ignore[arg-type]
    "B3 dropout=1": lambda: Settings(dropout=1),
    "B5 seed=True": lambda: Settings(seed=True),
    "B5 seed=None": lambda: Settings(seed=None),  # type: ignore[arg-type]
    "B7 num_envs=True": lambda: Settings(num_envs=True),
    "B8 steps=0": lambda: Settings(steps=0),
    "B9 steps='10'": lambda: Settings(steps="10"),  # type: ignore[arg-type]
    "B9 steps=inf": lambda: Settings(steps=math.inf),  # type: ignore[arg-type]
    "B15 initial_log_std=nan": lambda: Settings(initial_log_std=math.nan),
    "B16 learning_rate is a function": lambda: klamp.PPO(learning_rate=abs),  # type: ignore[arg-type]
    "B20 cg_iterations=2.5": lambda: klamp.TRPO(cg_iterations=2.5),  # type: ignore[arg-type]
    "Bx standardised returns with other values": lambda: Settings(
        advantage_estimator="standardized-return"
    ),
    "B22 hidden_sizes=64": lambda: Settings(hidden_sizes=64),  # type: ignore[arg-type]
    "B22 hidden_sizes='64,64' in Python": lambda: Settings(hidden_sizes="64,64"),  # type: ignore[arg-type]
    "B22 hidden_sizes=(64.0,)": lambda: Settings(hidden_sizes=(64.0,)),  # type: ignore[arg-type]
    "B22 recurrent_size=-1": lambda: Settings(recurrent_size=-1),
    "B23 activation is a function": lambda: Settings(activation=abs),  # type: ignore[arg-type]
    "B31 environment is None": lambda: klamp.train(None),  # type: ignore[arg-type]
    "B31 environment is a class": lambda: klamp.train(TextThatTells),  # type: ignore[arg-type]
    "B31 environment is empty": lambda: klamp.train(""),
    "B31 environment is made already": lambda: klamp.train(gymnasium.make("CartPole-v1")),
    "B31 argument that is no JSON": lambda: klamp.train("CartPole-v1", env_kwargs={"a": abs}),
    "B31 wrapper is a number": lambda: klamp.train("CartPole-v1", wrappers=[4]),  # type: ignore[list-item]
    "B31 wrappers are one text": lambda: klamp.train("CartPole-v1", wrappers="flatten"),
    "B31 wrapper returns nothing": lambda: klamp.train("CartPole-v1", wrappers=[print]),
    "B31 wrapper of one written in JAX": lambda: klamp.train(Walk(), wrappers=["flatten"]),
    "B31 arguments of an object": lambda: klamp.train(Walk(), env_kwargs={"limit": 3}),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", TYPED)
def test_typed(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "CartPole-v1", *TYPED[row].split()]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("klamp: ")
    MESSAGES.check(row, err.removeprefix("klamp: ").removesuffix("\n"))
    assert not os.listdir()


@pytest.mark.parametrize("row", CALLED)
def test_called(row: str) -> None:
    with pytest.raises((klamp.ConfigError, klamp.EnvironmentFault)) as caught:
        CALLED[row]()
    MESSAGES.check(row, str(caught.value))
    assert not os.listdir()


def test_every_stored_message_has_its_row() -> None:
    MESSAGES.check_rows([*TYPED, *CALLED])


@pytest.mark.parametrize("steps", [2048, 2048.0, 1e6])
def test_b9_whole_floats_are_steps(steps: Any) -> None:
    assert type(RunConfig("CartPole-v1", klamp.PPO(), Settings(steps=steps)).settings.steps) is int


def test_b6_no_derived_seed_leaves_31_bits() -> None:
    drawn = {environment_seed(2**63 - 1, Purpose.EPISODE, i, i % 7) for i in range(10_000)}
    assert min(drawn) >= 0
    assert max(drawn) < 2**31
    assert len(drawn) > 9_990, "31 bits let a few of them meet"


@pytest.mark.parametrize("size", [3, 100, 2048])
def test_b10_a_minibatch_need_not_divide_the_batch(size: int) -> None:
    """The last one is filled with rows of weight 0 (tests/test_minibatches.py)."""
    RunConfig("CartPole-v1", klamp.PPO(minibatch_size=size), Settings())


def test_b11_a_small_batch_may_stay_below_the_usual_minibatch() -> None:
    small = Settings(steps=100, num_envs=2, rollout_length=8)
    RunConfig("CartPole-v1", klamp.PPO(), small)
    RunConfig("CartPole-v1", klamp.TRPO(), small)


def test_b22_no_hidden_layer_is_a_linear_policy() -> None:
    assert Settings(hidden_sizes=[]).hidden_sizes == ()  # type: ignore[arg-type]


def test_b7_numbers_of_any_length_are_refused_in_our_words() -> None:
    """Python itself refuses to write integers of more than 4300 digits."""
    long = 10**4000
    with pytest.raises(klamp.ConfigError, match="at most 1,048,576"):
        Settings(num_envs=long, rollout_length=long)
