"""Faulty environments, B31 to B70 of the catalogue, at the start-up check, through ``klamp train``.

The command exits with 2, says one paragraph, and leaves no file.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from bad_environments import ACCEPTED, FAULTS, PAIR, WARNED, Sound, bad, floats, returns
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from own_environments import Race
from stored import Messages

import klamp
from klamp.cli.main import main
from klamp.config.settings import Settings
from klamp.envs.checks import memory_budget
from klamp.envs.checks.startup import check_environment
from klamp.envs.source import resolve
from klamp.errors import KlampWarning
from klamp.runtime.seeding import EnvironmentSeeds, Purpose

MESSAGES = Messages("environments")
SMALL = Settings(steps=64, num_envs=2, rollout_length=32)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The paragraph with which a command is refused."""
    assert main(["train", *words, "--quiet"]) == 2
    assert not os.listdir(), "nothing may be left behind"
    err = capsys.readouterr().err
    assert err.startswith("klamp: ")
    assert err.endswith("\n")
    return err[len("klamp: ") : -1]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.parametrize("row", FAULTS)
def test_faults(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    MESSAGES.check(row, said(capsys, bad(row)))


@pytest.mark.parametrize("row", ACCEPTED)
def test_accepted(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_environment(resolve(bad(row)), SMALL).repeats


@pytest.mark.parametrize("row", WARNED)
def test_warned(row: str) -> None:
    with pytest.warns(klamp.KlampWarning) as caught:
        check_environment(resolve(bad(row)), SMALL)
    assert len(caught) == 1, "each environment is complained of once"
    MESSAGES.check(row, str(caught[0].message))


class Nothing:
    """No environment at all."""


class Together(VectorEnv):
    """A vector environment that does not say how it resets."""

    metadata: dict[str, Any] = {}  # noqa: RUF012
    single_observation_space = observation_space = PAIR
    single_action_space = action_space = spaces.Discrete(2)

    def __init__(self, num_envs: int = 1) -> None:
        self.num_envs = num_envs


def one_for_all() -> Any:
    return ONE


def each_wider() -> Any:
    ONE.made += 1
    sound = Sound()
    sound.observation_space = spaces.Box(-1, 1, (ONE.made,), np.float32)
    sound.see = returns(np.zeros(ONE.made, np.float32))  # type: ignore[method-assign]
    return sound


ONE: Any = Sound()
ONE.made = 0
MADE: dict[str, dict[str, Any]] = {
    "B31 old interface": {"entry_point": Nothing},
    "B31 nothing is made": {"entry_point": lambda: None},
    "B31 entry point is misspelt": {"entry_point": "bad_environments:Sount"},
    "B31 entry point is in no module": {"entry_point": "no_such_module:Sound"},
    "B35 no actions at all": {"entry_point": lambda: spaces.Discrete(0)},
    "B37 constructor of the box refuses": {"entry_point": lambda: spaces.Box(1, -1, (2,))},
    "B50 two copies differ": {"entry_point": each_wider},
    "B52 the same object each time": {"entry_point": one_for_all},
    "B53 vector environment as a single one": {"entry_point": Together},
    "B53 no autoreset mode": {"entry_point": Sound, "vector_entry_point": Together},
    "B53 vector constructor raises": {"entry_point": Sound, "vector_entry_point": Nothing},
}


@pytest.mark.filterwarnings("ignore")  # Gymnasium's own, before ours is raised
@pytest.mark.parametrize("row", MADE)
def test_made_wrongly(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"Made/{row.replace(' ', '-')}-v0"
    gymnasium.register(name, **MADE[row])
    MESSAGES.check(row, said(capsys, name))


NAMED = {
    "B30 misspelt id": "CartPol-v1",
    "B30 no such version": "FrozenLake-v9",
    "B30 nothing like it": "zzz",
    "B30 not an id": "CartPole v1!",
    "B30 no such module": "no_such_module:Thing-v0",
    "B30 module that raises": "raising_module:Thing-v0",
    "B30 module that leaves": "leaving_module:Thing-v0",
    "B30 module with a mistake": "mistaken_module:Thing-v0",
    "B30 module without the id": "stored:Thing-v0",
    "B30 module without a name": "stored:",
    "B30 misspelt functional environment": "phys2d/CartPol-v1",
    "B30 gymnax is missing": "gymnax:CartPole-v1",
    "B30 Brax is missing": "brax:ant",
    "B30 Playground is missing, and a name": "playground:",
}


@pytest.mark.parametrize("row", NAMED)
def test_named_wrongly(
    row: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "raising_module.py").write_text("raise KeyError('no licence')")
    (folder / "leaving_module.py").write_text("raise SystemExit(5)")
    (folder / "mistaken_module.py").write_text("def f(:")
    monkeypatch.syspath_prepend(folder)
    for missing in ("gymnax", "brax", "brax.envs", "mujoco_playground"):
        monkeypatch.setitem(sys.modules, missing, None)
    MESSAGES.check(row, said(capsys, NAMED[row]))


SIZES = {
    "B7 more environments than memory": (
        bad("B64 constant observation"),
        "--num-envs 1000000 --rollout-length 1000",
    ),
    "B38 rollout beyond memory": ("Bad/Image-v0", "--num-envs 2000"),
    "B38 observation beyond reason": ("Bad/Vast-v0", ""),
    "B22 networks beyond memory": ("CartPole-v1", "--hidden-sizes 64 100000 100000"),
    "B37 squashed without bounds": (bad("B37 unbounded actions"), "--action-bounds tanh"),
    "B37 beta with one bound": (bad("B37 one-sided actions"), "--action-bounds beta"),
}


def image() -> Any:
    sound = Sound()
    sound.observation_space = spaces.Box(0, 255, (84, 84, 4), np.uint8)
    return sound


def vast() -> Any:
    sound = Sound()
    sound.observation_space = PAIR.__class__(0, 1, (2,))
    sound.observation_space._shape = (10**5, 10**4)
    return sound


@pytest.mark.parametrize("row", SIZES)
def test_too_large(
    row: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run will take is reckoned before it is allocated, against a machine of 16 GB."""
    for name, make in (("Bad/Image-v0", image), ("Bad/Vast-v0", vast)):
        if name not in gymnasium.registry:
            gymnasium.register(name, make)
    monkeypatch.setattr(memory_budget, "machine_memory", lambda: 16 * 10**9)
    env, options = SIZES[row]
    MESSAGES.check(row, said(capsys, env, "--steps", "1e10", *options.split()))


def raising(*_: Any) -> Any:
    """A network of a user's own that cannot be built."""
    raise ValueError("width must be even")


TRAINED: dict[str, tuple[Any, dict[str, Any]]] = {
    "B53 vector object and other rows": (lambda: Race(3), {"num_envs": 4}),
    "B53 vector object and evaluation while training": (lambda: Race(3), {"eval_interval": 64}),
    "B53 vector object and vectorization": (lambda: Race(3), {"vectorization": "async"}),
    "B53 vector object and arguments": (lambda: Race(3), {"env_kwargs": {"length": 4}}),
    "B53 vector object and wrappers": (lambda: Race(3), {"wrappers": ["time-limit=5"]}),
    "B53 vector class and vectorization": (lambda: Race, {"vectorization": "sync"}),
    "B53 vector class and wrappers": (lambda: Race, {"wrappers": ["time-limit=5"]}),
    "B53 vector class and no such argument": (lambda: Race, {"env_kwargs": {"lenght": 4}}),
    "B23 network that is in no module": (lambda: "CartPole-v1", {"network": "no_such_module:make"}),
    "B23 network that is no name": (lambda: "CartPole-v1", {"network": "json"}),
    "B23 network that is none": (lambda: "CartPole-v1", {"network": "json:dumps"}),
    "B23 network that raises": (lambda: "CartPole-v1", {"network": raising}),
}


@pytest.mark.parametrize("row", TRAINED)
def test_trained_wrongly(row: str) -> None:
    make, settings = TRAINED[row]
    with pytest.raises(klamp.KlampError) as caught:
        klamp.train(make(), klamp.PPO(), steps=256, rollout_length=32, quiet=True, **settings)
    assert not os.listdir(), "nothing may be left behind"
    MESSAGES.check(row, str(caught.value))


def test_many_seeds_cannot_share_one_object() -> None:
    with pytest.raises(klamp.ConfigError) as caught:
        klamp.train_seeds(Race(3), seeds=2, quiet=True)
    MESSAGES.check("B53 vector object and many seeds", str(caught.value))


def test_every_stored_message_has_its_row() -> None:
    several = ["B53 vector object and many seeds"]
    MESSAGES.check_rows([*FAULTS, *WARNED, *MADE, *NAMED, *SIZES, *TRAINED, *several])


def walked(parts: dict[str, Any]) -> list[list[np.ndarray]]:
    """What ten steps of two copies show, as training sees them."""
    name = f"Walked/{len(gymnasium.registry)}-v0"
    gymnasium.register(name, type("Walked", (Sound,), parts))
    check_environment(resolve(name), SMALL)
    copies = resolve(name).host(2, EnvironmentSeeds(0, Purpose.EPISODE))
    seen = [[np.array(copies.reset())]]
    for _ in range(10):
        actions = np.array([0, 1])
        seen.append([np.array(part) for part in copies.step(actions)])
        assert list(actions) == [0, 1]
    copies.close()
    return seen


def into_the_same_array(self: Any) -> np.ndarray:
    """Every observation in the same array, which all copies share, too."""
    BUFFER[:] = Sound.see(self)
    return BUFFER


BUFFER = floats(0, 0)
FORCES = spaces.Box(-1, 1, (1,), np.float32)


def test_b46_an_environment_may_return_the_same_array_each_time() -> None:
    for sound, aliasing in zip(walked({}), walked({"see": into_the_same_array}), strict=True):
        for a, b in zip(sound, aliasing, strict=True):
            np.testing.assert_array_equal(a, b)


def test_b46_an_environment_may_write_into_its_action() -> None:
    def step(self: Any, action: Any) -> Any:
        answer = Sound.step(self, action)
        action[:] = 7
        return answer

    gymnasium.register(
        "Writing-v0", type("Writing", (Sound,), {"step": step, "action_space": FORCES})
    )
    copies = resolve("Writing-v0").host(2, EnvironmentSeeds(0, Purpose.EPISODE))
    copies.reset()
    given = np.full((2, 1), 0.5, np.float32)
    copies.step(given)
    np.testing.assert_array_equal(copies.position().arrays()["actions0"], [[[0.5], [0.5]]])
    copies.close()


DRIFT: dict[str, dict[str, Any]] = {
    "B49 the seed is ignored": {
        "see": lambda self: np.array([0, np.random.default_rng().random()], np.float32)
    },
    "B49 an episode goes on from the last": {
        "see": lambda self: floats(0, next(COUNTER) % 1000 / 1000)
    },
    "B49 the reward is drawn elsewhere": {"reward": lambda self: next(COUNTER)},
}
COUNTER = iter(range(10**9))


@pytest.mark.parametrize("row", DRIFT)
def test_b49_what_does_not_repeat_is_noted_and_trained_on(row: str) -> None:
    name = f"Drift/{row.replace(' ', '-')}-v0"
    gymnasium.register(name, type("Drift", (Sound,), DRIFT[row]))
    with pytest.warns(KlampWarning, match="does not repeat itself"):
        checked = check_environment(resolve(name), SMALL)
    assert not checked.repeats
    assert (
        "reward" in checked.difference if "reward" in row else "observation" in checked.difference
    )


@pytest.mark.parametrize("call", ["__init__", "reset", "step"])
def test_an_interrupt_is_no_fault(call: str) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    name = f"Interrupt/{call.strip('_')}-v0"
    gymnasium.register(name, type("Interrupt", (Sound,), {call: interrupt}))
    with pytest.raises(KeyboardInterrupt):
        check_environment(resolve(name), SMALL)
    assert main(["train", name, "--quiet"]) == 130
