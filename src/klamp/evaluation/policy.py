"""A trained policy for users: numpy in, numpy out, with its normaliser inside."""

from copy import copy
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gymnasium import spaces
from jaxtyping import Array

from klamp.config.run import RunConfig
from klamp.envs import MASK_KEY
from klamp.envs.spaces.masks import choices_left, mask_rows, mask_sizes
from klamp.envs.spaces.observations import as_batch, host_encoder, masks_in_observation
from klamp.envs.spaces.supported import Space
from klamp.evaluation.action_distribution import ActionDistribution
from klamp.mathematics.normalization import Scaling
from klamp.networks import Model
from klamp.networks.action_decoder import action_decoder
from klamp.runtime.device import in_float32
from klamp.runtime.seeding import Purpose, key
from klamp.types import Inputs


class TrainedPolicy:
    """A policy and its critic with frozen normalisation. Fit to be called from any host code."""

    def __init__(
        self,
        model: Model,
        theta: Array,
        scaling: Scaling | None,
        observation_space: Space,
        action_space: Space,
        config: RunConfig,
        log_std: float | None = None,
        masked: bool = False,
    ) -> None:
        """``masked``: whether the environment gives action masks in its info."""
        self.model, self.theta, self.scaling = model, theta, scaling
        self.observation_space, self.action_space = observation_space, action_space
        self.config = config
        self.log_std = log_std
        self.masked = masked or masks_in_observation(observation_space)
        self._noise, self._calls = (config.settings.seed, Purpose.EVALUATE), 0
        self._memory: np.ndarray | None = None
        self._first: np.ndarray | None = None
        self._to_environment = action_decoder(action_space, config.settings.action_bounds)
        self._encode = host_encoder(observation_space)

    def act(self, observation: Any, deterministic: bool = False, action_mask: Any = None) -> Any:
        """An action of the environment for one observation, or one for each of a batch.

        Sampled from the policy, or its mode where ``deterministic``; within the action space.
        ``action_mask`` is needed where the environment gives it in its info; one in the observation
        is found. Samples are a function of the run's seed and the number of calls before.

        Raises ``ValueError`` on what does not fit or is not finite, and where a mask is missing.
        """
        rows, single = self._rows(observation)
        allowed = self._allowed(observation, action_mask, len(rows), single)
        action = self.act_on_rows(rows, deterministic, allowed)
        return jax.tree.map(lambda leaf: leaf[0], action) if single else action

    @in_float32
    def distribution(self, observation: Any, action_mask: Any = None) -> ActionDistribution:
        """The distribution that ``act`` samples from.

        It has probabilities, deviation, entropy and log π(action). Nothing changes: the hidden
        state of a recurrent policy stays as it is.
        """
        rows, single = self._rows(observation)
        inputs = self._inputs(rows, self._allowed(observation, action_mask, len(rows), single))
        found, _ = self.model.describe(self.theta, self.scaling, inputs, key(0, Purpose.EVALUATE))
        bounds = self.config.settings.action_bounds
        return ActionDistribution(found, self.action_space, bounds, single)

    def export(self, path: str | Path) -> list[Path]:
        """Write the policy as a file that runs without klamp; the paths of what was written.

        `.onnx` is one graph from observation to action (float32, any number of rows), with the
        normaliser and the action's transform inside; `.npz` is the same for numpy alone, run by the
        `numpy_policy.py` that is put beside it. Actions are deterministic; further outputs are the
        parameters of the distribution and the value (docs/export.md has the names).

        It is compared with ``act`` before it is written. Raises ``ConfigError`` where the network
        has an operation that is not translated, and ``KlampError`` where the two differ by more
        than 1e-5 and than rounding the parameters explains.
        """
        from klamp.evaluation.export.write import export  # noqa: PLC0415 - few runs need it

        return export(self, path)

    @in_float32
    def act_on_rows(self, rows: Any, deterministic: bool = False, action_mask: Any = None) -> Any:
        """Like ``act``, for a batch of observations and masks as ``HostEnvironments`` has them."""
        noise_key = key(*self._noise, 0, self._calls)
        self._calls += 1
        inputs = self._inputs(rows, action_mask)
        choose = self.model.mode if deterministic else self.model.sample
        chosen, memory = choose(self.theta, self.scaling, inputs, noise_key)
        if memory is not None:
            self._memory, self._first = np.array(memory), np.zeros(len(rows), bool)
        return self._to_environment(jax.tree.map(np.asarray, chosen))

    def anew(self, seed: int) -> "TrainedPolicy":
        """A copy to be evaluated, with the initial hidden state.

        Its samples are a function of ``seed``. This policy does not change.
        """
        other = copy(self)
        other._noise, other._calls = (seed, Purpose.ACT_EVALUATED), 0
        other.reset()
        return other

    def reset(self, ended: Any = None) -> None:
        """Begin new episodes: reset the hidden state, in the rows of ``ended`` or in all.

        To be called at the end of each episode of a recurrent policy; others do not need it.
        """
        if ended is None or self._first is None:
            self._memory = self._first = None
        else:
            self._first = self._first | np.asarray(ended)

    @in_float32
    def value(self, observation: Any) -> Any:
        """V of one observation (a float) or of each of a batch, in the units of the training."""
        rows, single = self._rows(observation)
        value = np.asarray(self.model.compiled_value(self.theta, self.scaling, self._inputs(rows)))
        return float(value[0]) if single else value

    def _allowed(self, observation: Any, mask: Any, rows: int, single: bool) -> np.ndarray | None:
        """The mask that was given, or is in the observation, as booleans [N, entries]."""
        if mask is None and masks_in_observation(self.observation_space):
            mask = observation.get(MASK_KEY)
        if mask is not None:
            return self._mask_rows(mask, rows, single)
        if not self.masked:
            return None
        where = (
            f"in the observation, under the key {MASK_KEY!r}"
            if masks_in_observation(self.observation_space)
            else f"in its info: `policy.act(observation, action_mask=info[{MASK_KEY!r}])`"
        )
        raise ValueError(
            f"The action mask is missing: `{self.config.env}` tells the allowed actions {where}. "
            f"Give {sum(mask_sizes(self.action_space))} entries for each observation, True where "
            "an action is allowed; all True allows every action."
        )

    def _rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        """The observation as a batch of network inputs, and whether it was a single one."""
        space = self.observation_space
        found = as_batch(space, observation)
        if found is not None:
            batch, single = found
            if self._encode is not None:
                return self._finite(self._encode(batch)), single
            return self._finite(np.asarray(batch).astype(space.dtype, copy=False)), single
        if not isinstance(space, spaces.Box):
            raise ValueError(
                f"The observation {observation!r} does not fit {space}, nor is it a batch of such; "
                f"this policy for {self.config.env} takes one of these."
            )
        raise ValueError(
            f"The observation has the shape {np.shape(observation)}; this policy for "
            f"{self.config.env} takes one of shape {space.shape}, or a batch of them with one more "
            "axis in front."
        )

    def _finite(self, rows: np.ndarray) -> np.ndarray:
        """The rows, if each number in them is finite."""
        if not np.all(finite := np.isfinite(rows)):
            row, *place = (int(i) for i in np.argwhere(~finite)[0])
            raise ValueError(
                f"The observation holds {rows[row, *place]} at {place} (row {row}), of which "
                f"nothing follows; the policy for {self.config.env} takes finite numbers. Mend "
                "what measures it, or put the last finite value in its place."
            )
        return rows

    def _mask_rows(self, mask: Any, rows: int, single: bool) -> np.ndarray:
        """The mask as booleans [N, entries], if it fits and leaves something in every row."""
        flat = np.concatenate([np.ravel(part) for part in mask])[None] if single else mask
        allowed, sizes = mask_rows(flat, rows), mask_sizes(self.action_space)
        if allowed.shape[1] != sum(sizes) or not choices_left(allowed, sizes).all():
            raise ValueError(
                f"The action mask {mask!r} does not fit: expected {sum(sizes)} entries for each "
                "observation, with at least one allowed action in every choice."
            )
        return allowed

    def _inputs(self, rows: Any, mask: Any = None) -> Inputs:
        """The inputs of the networks, raw."""
        scale = None if self.log_std is None else np.full(len(rows), self.log_std, np.float32)
        size = self.config.settings.recurrent_size
        if not size:
            return Inputs(rows, mask, None, scale)
        if self._memory is None or self._first is None or len(self._memory) != len(rows):
            memory, first = np.zeros((len(rows), size), np.float32), np.ones(len(rows), bool)
        else:
            memory, first = self._memory, self._first
        return Inputs(rows, mask, None, scale, memory, first)
