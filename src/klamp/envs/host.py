"""Gymnasium's vector environments behind one reading of how episodes end.

Whatever the autoreset mode, ``step`` returns the observation to act on next, the *true* next
observation (the final one where an episode ended), and which rows are transitions at all.
"""

import multiprocessing
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from klamp.envs.masks import ActionMasks
from klamp.envs.observations import (
    MASK_KEY,
    batch_of_one,
    encoder,
    masks_in_observation,
    seen_space,
)
from klamp.errors import EnvironmentFault, closest
from klamp.seeding import Purpose, environment_seed

START_METHODS = multiprocessing.get_all_start_methods()


class Transition(NamedTuple):
    """One step of all N environments."""

    observation: np.ndarray
    """What to act on next: after an end, the first observation of the next episode."""
    next_observation: np.ndarray
    """What the action led to: after an end, the final observation of the episode."""
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    """False for the row in which NEXT_STEP autoreset ignored the action."""


class HostEnvironments:
    """N environments of one kind, stepped together on the host.

    Observations come as arrays: what is not a Box is made one vector a row at this door. Where the
    environment tells which actions are allowed, ``action_mask`` holds it.
    """

    def __init__(
        self, vector: VectorEnv[Any, Any, Any], env: str, seed: int, purpose: Purpose
    ) -> None:
        self.env = env
        self.vector = vector
        self.num_envs = vector.num_envs
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self.seen_space = seen_space(self.observation_space)
        self._seed, self._purpose = seed, purpose
        self._episodes = np.zeros(self.num_envs, np.int64)
        self._phantom = np.zeros(self.num_envs, bool)
        self._all_valid = np.ones(self.num_envs, bool)
        steps: dict[AutoresetMode, Callable[[np.ndarray], Transition]] = {
            AutoresetMode.DISABLED: self._step_and_reset,
            AutoresetMode.NEXT_STEP: self._step_next,
            AutoresetMode.SAME_STEP: self._step_same,
        }
        self.step = self._step_mode = steps[autoreset_mode(vector, env)]
        self._encode = encoder(self.observation_space)
        self._masks: ActionMasks | None = None
        self._steps = 0
        plain = self._encode is None
        self._vector_step: Callable[[Any], Any] = vector.step if plain else self._step_seen

    @property
    def action_mask(self) -> np.ndarray | None:
        """[N, entries]: the actions allowed next; None where the environment does not tell."""
        return None if self._masks is None else self._masks.allowed

    def reset(self) -> np.ndarray:
        """Start a first episode in each environment, each from a seed of its own."""
        self._phantom[:] = False
        seeds = [self._episode_seed(i) for i in range(self.num_envs)]
        # A vectorised environment draws for all its rows from one generator.
        own_generators = isinstance(
            self.vector, gymnasium.vector.SyncVectorEnv | gymnasium.vector.AsyncVectorEnv
        )
        seed: Any = seeds if own_generators else seeds[0]
        raw, info = self.vector.reset(seed=seed)
        if MASK_KEY in info or masks_in_observation(self.observation_space):
            self._masks = ActionMasks(self.env, self.action_space, self.num_envs)
            self.step, self._vector_step, self._steps = self._step_masked, self._step_seen, 0
        observation = self._see(raw, info)
        if self._masks is not None:
            self._masks.settle(0, self._phantom)
        return observation

    def close(self) -> None:
        """Free the environments."""
        self.vector.close()

    def _episode_seed(self, index: int) -> int:
        return environment_seed(self._seed, self._purpose, index, int(self._episodes[index]))

    def _see(self, raw: Any, info: dict[str, Any]) -> np.ndarray:
        """The observations as arrays; the masks that came with them are kept."""
        if self._masks is not None:
            if masks_in_observation(self.observation_space):
                self._masks.read(raw[MASK_KEY])
            else:
                self._masks.read(info.get(MASK_KEY), info.get(f"_{MASK_KEY}"))
        return raw if self._encode is None else self._encode(raw)

    def _step_seen(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """The vector environment's own step, with what it shows as arrays."""
        raw, reward, terminated, truncated, info = self.vector.step(action)
        return self._see(raw, info), reward, terminated, truncated, info

    def _step_masked(self, action: Any) -> Transition:
        """A step after which every environment has told what it allows next."""
        assert self._masks is not None
        self._steps += 1
        self._masks.begin()
        after = self._step_mode(action)
        self._masks.settle(self._steps, self._phantom)
        return after

    def _step_and_reset(self, action: np.ndarray) -> Transition:
        """DISABLED: ended episodes are reset here, each with the seed of its next episode."""
        after, reward, terminated, truncated, _ = self._vector_step(action)
        ended = terminated | truncated
        if not ended.any():
            return Transition(after, after, reward, terminated, truncated, self._all_valid)
        final = np.array(after)
        terminated, truncated = terminated.copy(), truncated.copy()
        self._episodes[ended] += 1
        # The base class knows one seed only; the vector environments that get here take a list.
        seeds: Any = [self._episode_seed(i) if ended[i] else None for i in range(self.num_envs)]
        raw, info = self.vector.reset(seed=seeds, options={"reset_mask": ended})
        first = self._see(raw, info)
        return Transition(first, final, reward, terminated, truncated, self._all_valid)

    def _step_next(self, action: np.ndarray) -> Transition:
        """NEXT_STEP: the step after an end ignores the action and returns the reset observation."""
        after, reward, terminated, truncated, _ = self._vector_step(action)
        valid = ~self._phantom
        self._phantom = terminated | truncated
        return Transition(after, after, reward, terminated, truncated, valid)

    def _step_same(self, action: np.ndarray) -> Transition:
        """SAME_STEP: the final observation comes in ``info["final_obs"]``."""
        after, reward, terminated, truncated, info = self._vector_step(action)
        ended = terminated | truncated
        if not ended.any():
            return Transition(after, after, reward, terminated, truncated, self._all_valid)
        final = np.array(after)
        for i in np.flatnonzero(ended):
            raw = info["final_obs"][i]
            final[i] = raw if self._encode is None else self._encode(batch_of_one(raw))[0]
        return Transition(after, final, reward, terminated, truncated, self._all_valid)


def autoreset_mode(vector: VectorEnv[Any, Any, Any], env: str) -> AutoresetMode:
    """How a vector environment resets; an error where it does not say."""
    mode = vector.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise EnvironmentFault(
            f"The vector environment of {env} does not say how it resets: its "
            f"metadata['autoreset_mode'] is {mode!r}, expected a gymnasium.vector.AutoresetMode. "
            "Set it in the environment's class, or train with `vectorization='sync'`."
        )
    return mode


def make_host(
    env: str, num_envs: int, *, seed: int, purpose: Purpose, vectorization: str = "auto"
) -> HostEnvironments:
    """``num_envs`` copies of a Gymnasium id (or ``module:id``), ready to be reset.

    ``auto`` takes the environment's own vector form where it has one, else steps copies in this
    process; ``async`` gives each copy a process.
    """
    options: dict[str, Any] = {}
    own_form = vectorization == "auto" and _spec(env).vector_entry_point is not None
    if own_form:
        mode = None
    else:
        mode = "async" if vectorization == "async" else "sync"
        # Shared buffers: each observation is copied into the rollout before the next step.
        options = {"autoreset_mode": AutoresetMode.DISABLED, "copy": False}
        if mode == "async":
            # Not by fork: JAX has threads, whose locks a forked child would wait for for ever.
            options["context"] = "spawn" if "forkserver" not in START_METHODS else "forkserver"
    try:
        vector = gymnasium.make_vec(
            env, num_envs=num_envs, vectorization_mode=mode, vector_kwargs=options
        )
    except Exception as error:
        raise EnvironmentFault(_cannot_make(env, error)) from error
    return HostEnvironments(vector, env, seed, purpose)


def make_single(env: str, **options: Any) -> Any:
    """One environment of its own, to be rendered."""
    _spec(env)
    try:
        return gymnasium.make(env, **options)
    except Exception as error:
        raise EnvironmentFault(_cannot_make(env, error)) from error


def _spec(env: str) -> Any:
    """The registered specification of an id; an error that suggests the nearest one."""
    module, _, name = env.rpartition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # The loader of `module:id` imports the module, which registers the id.
            if module:
                __import__(module)
            return gymnasium.spec(name)
    except ImportError as error:
        raise EnvironmentFault(
            f"The environment `{env}` needs the module `{module}`, which cannot be imported "
            f"({error}). Install it, or run from the folder that holds it."
        ) from error
    except gymnasium.error.Error as error:
        known = list(gymnasium.registry)
        raise EnvironmentFault(
            f"There is no environment `{env}` among the {len(known)} that Gymnasium knows here."
            f"{closest(name, known)} For one of your own, give `module:id`, where importing "
            "`module` registers `id`."
        ) from error


def _cannot_make(env: str, error: Exception) -> str:
    """Why an environment could not be made, in its own words, with the likely remedy."""
    text = " ".join(str(error).split())
    missing = isinstance(error, gymnasium.error.DependencyNotInstalled | ImportError)
    remedy = "Check the environment's own constructor."
    if missing:
        mujoco = "mujoco" in text or "imageio" in text
        remedy = 'Do `pip install "klamp[mujoco]"`.' if mujoco else "Install what it names."
    return f"The environment `{env}` could not be made: {type(error).__name__}: {text} {remedy}"
