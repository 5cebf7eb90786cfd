"""The built-in networks in numpy and float64, from the settings and the θ of a run."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import references as ref
from scipy import special

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * special.expit(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}
CHOICES = {"discrete": [3], "multidiscrete": [2, 3], "multibinary": [3]}
LOW, HIGH = np.array([-2.0, 0.5]), np.array([1.0, 3.0])


class Reader:
    """Takes one layer after the other from θ."""

    def __init__(self, theta: Any) -> None:
        self.left = np.asarray(theta, np.float64)

    def take(self, *shape: int) -> np.ndarray:
        """The next array."""
        size = int(np.prod(shape))
        taken, self.left = self.left[:size], self.left[size:]
        return taken.reshape(shape)

    def dense(self, size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
        """The next layer's weight and bias."""
        return self.take(size_in, size_out), self.take(size_out)


@dataclass(frozen=True)
class Network:
    """A run's policy and critic at one θ."""

    config: dict[str, Any]
    action: str
    seen: int
    theta: np.ndarray

    @property
    def kind(self) -> str:
        """The name of the distribution."""
        bounds, scale = self.config["action_bounds"], self.config["action_scale"]
        if self.action in ("box", "bounded"):
            return {"tanh": "squashed", "beta": "beta"}.get(bounds) or (
                "state" if scale == "state" else "gaussian"
            )
        return {"discrete": "categorical", "multidiscrete": "multi"}.get(self.action, "bernoulli")

    def _features(self, layers: Any, x: Any) -> Any:
        for weight, bias in layers:
            x = ACTIVATIONS[self.config["activation"]](x @ weight + bias)
        return x

    def _parts(self) -> tuple[Any, ...]:
        """Hidden layers of policy and critic, head, log σ, the critic's last layer."""
        sizes = [self.seen, *self.config["hidden_sizes"]]
        read, shared = Reader(self.theta), self.config["shared_network"]

        def torso() -> Any:
            return [read.dense(a, b) for a, b in pairwise(sizes)]

        own = [] if shared else torso()
        outputs = {"gaussian": 2, "categorical": 3, "multi": 5, "bernoulli": 3}.get(self.kind, 4)
        if self.kind == "squashed" and self.config["action_scale"] == "learned":
            outputs = 2
        head = read.dense(sizes[-1], outputs)
        learned = self.kind in ("gaussian", "squashed") and self.config["action_scale"] == "learned"
        log_std = read.take(2) if learned else None
        trunk = torso() if shared else None
        critic = trunk if trunk is not None else torso()
        value = read.dense(sizes[-1], 1)
        assert not len(read.left), "θ is longer than the network"
        return (own if trunk is None else trunk), head, log_std, critic, value

    def policy_size(self) -> int:
        """How many numbers of θ move the policy."""
        _, _, _, critic, value = self._parts()
        own = [] if self.config["shared_network"] else critic
        return len(self.theta) - sum(part.size for layer in (*own, value) for part in layer)

    def parameters(self, x: Any) -> ref.Parameters:
        """The distribution's parameters on scaled observations."""
        torso, (weight, bias), log_std, _, _ = self._parts()
        out = self._features(torso, x) @ weight + bias
        ends = {"low": LOW, "high": HIGH}
        if self.kind == "beta":
            grown = 1 + np.logaddexp(0, out)
            return {"alpha": grown[:, :2], "beta": grown[:, 2:], **ends}
        if self.kind in ("categorical", "bernoulli", "multi"):
            return {"logits": out} | ({"sizes": (2, 3)} if self.kind == "multi" else {})
        if log_std is None:
            out, change = out[:, :2], out[:, 2:]
            log_std = self.config["initial_log_std"] + change
        if self.config["mean_activation"] == "tanh":
            out = np.tanh(out)
        # The documented bounds of log σ, [−20, 2], bend it only within half a nat of them.
        return {"mean": out, "log_std": np.broadcast_to(log_std, out.shape), **ends}

    def value(self, x: Any) -> Any:
        """V of each row."""
        _, _, _, critic, (weight, bias) = self._parts()
        return (self._features(critic, x) @ weight + bias)[:, 0]

    def stored(self, action: Any) -> tuple[Any, Any]:
        """An environment's action as the policy scores it, and which rows can be scored so."""
        usable = np.ones(len(action), bool)
        match self.kind:
            case "categorical":
                return action + 1, usable
            case "squashed" | "beta":
                share = (action - LOW) / (HIGH - LOW)
                usable = np.all((share > 1e-4) & (share < 1 - 1e-4), axis=1)
                odds = special.logit(np.clip(share, 1e-9, 1 - 1e-9))
                return (odds / 2 if self.kind == "squashed" else odds), usable
            case "gaussian" | "state" if self.action == "bounded":
                usable = np.all((action > LOW) & (action < HIGH), axis=1)
        return action, usable


def scaled(seen: Any, moments: Any) -> Any:
    """Observations by their running moments, within ten deviations; at first only within ±10."""
    count, mean, deviations = moments
    if count < 1:
        return np.clip(seen, -10, 10)
    return np.clip((seen - mean) / np.sqrt(deviations / count + 1e-8), -10, 10)
