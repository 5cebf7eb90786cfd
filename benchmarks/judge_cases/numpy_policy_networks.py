"""Every built-in network in numpy and float64: convolutions, memory, all kinds of actions."""

from dataclasses import dataclass
from typing import Any

import judge_worlds as worlds
import numpy as np
from gymnasium import spaces
from numpy_networks import ACTIVATIONS, Reader, scaled
from scipy import special

NATURE, SMALL = ((32, 8, 4), (64, 4, 2), (64, 3, 1)), ((32, 3, 1), (64, 3, 2), (64, 3, 2))
"""Channels, kernel and stride of each convolution."""
TIE = 1e-4
"""Of two choices nearer to each other than this, either may be taken."""


def encoded(space: Any, batch: Any) -> np.ndarray:
    """A batch of a space's observations as one row of numbers each."""
    inner = worlds.parts(space)
    if inner:
        return np.concatenate([encoded(part, batch[key]) for key, part in inner], axis=1)
    flat = np.asarray(batch).reshape(len(batch), -1)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        sizes = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec)
        start = np.ravel(space.start)
        columns = [np.eye(n)[flat[:, i] - start[i]] for i, n in enumerate(sizes)]
        return np.concatenate(columns, axis=1)
    return flat.astype(np.float64) / (255 if space.dtype == np.uint8 else 1)


@dataclass(frozen=True)
class Found:
    """What a policy says of a batch."""

    action: dict[str, np.ndarray]
    """The most probable action, by the names of an export's outputs."""
    sure: dict[str, np.ndarray]
    """Where it is no tie."""
    parameters: dict[str, np.ndarray]
    """Those of the distribution, by the names of an export's outputs."""
    value: np.ndarray
    hidden: np.ndarray | None
    entropy: np.ndarray | None = None
    """Where its definition is short: of choices and of Gaussians that are not squashed."""


@dataclass(frozen=True)
class Policy:
    """A policy and its critic at one θ."""

    config: dict[str, Any]
    seen: Any
    """The space of observations, without a mask."""
    acts: Any
    theta: np.ndarray
    moments: Any
    log_std: float | None = None
    """That of a scheduled scale."""

    def __call__(self, batch: Any, mask: Any = None, hidden: Any = None) -> Found:
        """One step of each row; ``hidden`` None stands for the first step."""
        x = self._input(batch)
        read = Reader(self.theta)
        size, shared = self.config["recurrent_size"], self.config["shared_network"]
        rest = x if size or shared else self._torso(read, x)
        if not size and not shared:
            parameters = self._heads(read, rest, mask)
            value = self._dense(read, self._torso(read, x), 1)
            return self._found(parameters, value[:, 0], None)
        # The heads come first in θ, though they look at what follows them.
        heads = Reader(self.theta)
        width = size or self._width(x)
        self._heads(read, np.zeros((len(x), width)), mask)
        features = self._torso(read, x)
        if size:
            features = self._remember(read, features, size, hidden)
        value = self._dense(read, features, 1)
        parameters = self._heads(heads, features, mask)
        assert not len(read.left), "θ is longer than the network"
        return self._found(parameters, value[:, 0], features if size else None)

    def _input(self, batch: Any) -> np.ndarray:
        if isinstance(self.seen, spaces.Box):
            x = np.asarray(batch, np.float64)
            if self.seen.dtype == np.uint8:
                return x / 255
        else:
            x = encoded(self.seen, batch)
        return scaled(x, self.moments) if self.config["normalize_observation"] else x

    def _width(self, x: np.ndarray) -> int:
        if x.ndim == 4:
            return 512
        return [int(np.prod(x.shape[1:])), *self.config["hidden_sizes"]][-1]

    def _dense(self, read: Reader, x: np.ndarray, size: int) -> np.ndarray:
        weight, bias = read.dense(x.shape[1], size)
        return x @ weight + bias

    def _torso(self, read: Reader, x: np.ndarray) -> np.ndarray:
        if x.ndim == 4:
            return self._convolutions(read, x)
        x = x.reshape(len(x), -1)
        for size in self.config["hidden_sizes"]:
            x = ACTIVATIONS[self.config["activation"]](self._dense(read, x, size))
        return x

    def _convolutions(self, read: Reader, x: np.ndarray) -> np.ndarray:
        """Mnih et al. (2015) from 36 pixels on, else three of 3 × 3 with zeros at the edge."""
        if x.shape[1] < x.shape[-1]:
            x = np.moveaxis(x, 1, -1)
        nature = min(x.shape[1:3]) >= 36
        layers = NATURE if nature else SMALL
        for channels, kernel, stride in layers:
            weight, bias = read.take(kernel, kernel, x.shape[-1], channels), read.take(channels)
            if not nature:
                edges = []
                for n in x.shape[1:3]:
                    missing = max((-(-n // stride) - 1) * stride + kernel - n, 0)
                    edges.append((missing // 2, missing - missing // 2))
                x = np.pad(x, ((0, 0), *edges, (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
            windows = windows[:, ::stride, ::stride]
            x = np.maximum(np.einsum("byxckl,klco->byxo", windows, weight, optimize=True) + bias, 0)
        return np.maximum(self._dense(read, x.reshape(len(x), -1), 512), 0)

    def _remember(self, read: Reader, x: np.ndarray, size: int, hidden: Any) -> np.ndarray:
        """A gated recurrent unit (Cho et al. 2014); a new episode begins with zeros."""
        hidden = np.zeros((len(x), size)) if hidden is None else np.asarray(hidden, np.float64)
        seen, kept = read.take(3 * size, x.shape[1]), read.take(3 * size, size)
        bias, inner = read.take(3 * size), read.take(size)
        a, b = np.split(x @ seen.T + bias, 3, axis=1), np.split(hidden @ kept.T, 3, axis=1)
        reset, update = special.expit(a[0] + b[0]), special.expit(a[1] + b[1])
        fresh = np.tanh(a[2] + reset * (b[2] + inner))
        return fresh + update * (hidden - fresh)

    def _heads(self, read: Reader, x: np.ndarray, mask: Any) -> list[tuple[str, Any, Any]]:
        """(the part's name, its space, its parameters) of each part of an action."""
        inner = worlds.parts(self.acts) or [(None, self.acts)]
        found, at = [], 0
        for key, space in inner:
            width = sum(worlds.choices(space))
            allowed = None if mask is None or not width else mask[:, at : at + width]
            at += width
            name = "" if key is None else f".{key}"
            found.append((name, space, self._head(read, x, space, allowed)))
        return found

    def _head(self, read: Reader, x: np.ndarray, space: Any, allowed: Any) -> dict[str, Any]:
        if not isinstance(space, spaces.Box):
            size = sum(worlds.choices(space)) or int(np.prod(space.shape))
            logits = self._dense(read, x, size)
            return {"logits": logits if allowed is None else np.where(allowed, logits, -np.inf)}
        size, config = int(np.prod(space.shape)), self.config
        if config["action_bounds"] == "beta":
            alpha, beta = np.split(1 + np.logaddexp(0, self._dense(read, x, 2 * size)), 2, axis=1)
            return {"alpha": alpha, "beta": beta}
        scale = config["action_scale"]
        mean = self._dense(read, x, 2 * size if scale == "state" else size)
        raw = read.take(size) if scale == "learned" else 0.0
        if scale == "state":
            mean, raw = mean[:, :size], config["initial_log_std"] + mean[:, size:]
        log_std = raw - np.logaddexp(0, 8 * (raw - 2)) / 8 + np.logaddexp(0, 8 * (-20 - raw)) / 8
        if scale == "scheduled":
            log_std = self.log_std
        mean = np.tanh(mean) if config["mean_activation"] == "tanh" else mean
        return {"action_mean": mean, "log_std": np.broadcast_to(log_std, mean.shape)}

    def _found(self, heads: Any, value: np.ndarray, hidden: Any) -> Found:
        action, sure, told, entropy = {}, {}, {}, 0.0
        for name, space, parameters in heads:
            told |= {f"{key}{name}": array for key, array in parameters.items()}
            action[f"action{name}"], sure[f"action{name}"] = self._mode(space, parameters)
            more = self._entropy(space, parameters)
            entropy = None if entropy is None or more is None else entropy + more
        return Found(action, sure, told, value, hidden, entropy)

    def _mode(self, space: Any, p: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The most probable action as the environment takes it, and where that is no tie."""
        if isinstance(space, spaces.Box):
            low, high = np.ravel(space.low), np.ravel(space.high)
            if "alpha" in p:
                share = (p["alpha"] - 1) / (p["alpha"] + p["beta"] - 2)
                chosen = low + (high - low) * share
            elif self.config["action_bounds"] == "tanh":
                chosen = low + (high - low) * (1 + np.tanh(p["action_mean"])) / 2
            else:
                chosen = np.clip(p["action_mean"], low, high)
            return chosen.reshape(-1, *space.shape), np.ones((len(chosen), *space.shape), bool)
        if isinstance(space, spaces.MultiBinary):
            return (p["logits"] > 0).astype(int), np.abs(p["logits"]) > TIE
        parts = np.split(p["logits"], np.cumsum(worlds.choices(space))[:-1], axis=1)
        chosen = np.stack([part.argmax(axis=1) for part in parts], axis=1)
        ranked = [np.sort(part, axis=1) for part in parts]
        sure = np.stack([~(r[:, -1] - r[:, -2] <= TIE) for r in ranked], axis=1)
        if isinstance(space, spaces.Discrete):
            return chosen[:, 0] + int(space.start), sure[:, 0]
        return chosen + np.ravel(space.start), sure

    def _entropy(self, space: Any, p: dict[str, Any]) -> Any:
        """In nats, summed over the numbers of the action."""
        if isinstance(space, spaces.MultiBinary):
            yes = special.expit(p["logits"])
            return (special.entr(yes) + special.entr(1 - yes)).sum(axis=1)
        if not isinstance(space, spaces.Box):
            parts = np.split(p["logits"], np.cumsum(worlds.choices(space))[:-1], axis=1)
            return sum(special.entr(special.softmax(part, axis=1)).sum(axis=1) for part in parts)
        if "alpha" in p or self.config["action_bounds"] == "tanh":
            return None
        return (p["log_std"] + 0.5 * np.log(2 * np.pi * np.e)).sum(axis=1)
