"""The table of test problems: small policies with every head, and linear systems of every kind.

Each policy exists twice: on JAX with the library's distributions, and in float64 numpy with the
formulas written out here, so that what the library computes is judged by something else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from klamp import Batch, Categorical, DiagonalGaussian


@contextmanager
def precision(dtype: str) -> Iterator[type]:
    """Run the body in float32 or in float64; yields the numpy type."""
    with jax.enable_x64(dtype == "float64"):
        yield np.dtype(dtype).type


class PolicyProblem(NamedTuple):
    """A one-layer policy: tanh features, then one of three heads."""

    head: str
    observations: int
    hidden: int
    actions: int
    rows: int

    def theta(self, rng: np.random.Generator, scale: float = 1.0) -> dict[str, np.ndarray]:
        """Random parameters; every value is a float32, so that both precisions see the same."""
        outputs = self.actions * (2 if self.head == "gaussian of the state" else 1)
        shapes = {
            "w1": (self.observations, self.hidden),
            "b1": (self.hidden,),
            "w2": (self.hidden, outputs),
            "b2": (outputs,),
        }
        theta = {
            name: (scale * rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
            for name, shape in shapes.items()
        }
        if self.head == "gaussian":
            theta["log_std"] = (0.5 * rng.normal(size=self.actions)).astype(np.float32)
        return theta

    def parameters(self, theta: Any, observation: Any, xp: Any = np) -> tuple[Any, ...]:
        """The parameters of each row's distribution, by numpy or by ``jax.numpy``."""
        hidden = xp.tanh(observation @ theta["w1"] + theta["b1"])
        out = hidden @ theta["w2"] + theta["b2"]
        if self.head == "categorical":
            return (out,)
        if self.head == "gaussian":
            return out, xp.broadcast_to(theta["log_std"], out.shape)
        return out[..., : self.actions], 0.5 * out[..., self.actions :]

    def policy(self, theta: Any, inputs: Any) -> Any:
        """The policy as the library takes it."""
        return self.distribution(self.parameters(theta, inputs, jnp))

    def distribution(self, parameters: tuple[Any, ...]) -> Any:
        """The library's distribution with these parameters."""
        return (Categorical if self.head == "categorical" else DiagonalGaussian)(*parameters)

    def sample(self, rng: np.random.Generator, parameters: tuple[Any, ...]) -> np.ndarray:
        """One action per row."""
        if self.head == "categorical":
            return np.argmax(parameters[0] + rng.gumbel(size=parameters[0].shape), axis=-1)
        mean, log_std = parameters
        return (mean + np.exp(log_std) * rng.normal(size=mean.shape)).astype(np.float32)

    def log_prob(self, parameters: tuple[Any, ...], action: np.ndarray) -> np.ndarray:
        """log π(action) in float64."""
        if self.head == "categorical":
            return np.take_along_axis(log_softmax(parameters[0]), action[..., None], -1)[..., 0]
        mean, log_std = (np.asarray(part, np.float64) for part in parameters)
        z = (np.asarray(action, np.float64) - mean) / np.exp(log_std)
        return (-(z**2) / 2 - log_std - np.log(2 * np.pi) / 2).sum(-1)

    def kl(self, old: tuple[Any, ...], new: tuple[Any, ...]) -> np.ndarray:
        """KL(old‖new) of each row in float64, by its textbook formula."""
        if self.head == "categorical":
            log_p, log_q = log_softmax(old[0]), log_softmax(new[0])
            return (np.exp(log_p) * (log_p - log_q)).sum(-1)
        (m_p, s_p), (m_q, s_q) = (
            [np.asarray(part, np.float64) for part in both] for both in (old, new)
        )
        variance = np.exp(2 * s_q)
        return (s_q - s_p + (np.exp(2 * s_p) + (m_p - m_q) ** 2) / (2 * variance) - 0.5).sum(-1)

    def batch(self, rng: np.random.Generator, theta: Any, weight: Any = None) -> Batch:
        """Random samples of the policy, with standard normal advantages; numpy leaves."""
        observation = rng.normal(size=(self.rows, self.observations)).astype(np.float32)
        parameters = self.parameters(theta, observation)
        action = self.sample(rng, parameters)
        advantage = rng.normal(size=self.rows).astype(np.float32)
        return Batch(observation, action, advantage, self.distribution(parameters), weight)


def log_softmax(logits: Any) -> np.ndarray:
    """Normalised log-probabilities in float64."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


POLICIES = [
    PolicyProblem("categorical", observations=3, hidden=5, actions=4, rows=16),
    PolicyProblem("gaussian", observations=3, hidden=5, actions=2, rows=16),
    PolicyProblem("gaussian of the state", observations=3, hidden=5, actions=2, rows=16),
]
"""Where one shape is enough; problems of one shape share their compilation."""


def as_arrays(tree: Any, dtype: Any = np.float32) -> Any:
    """The tree on JAX, its floating-point leaves in the given precision."""

    def convert(leaf: Any) -> Any:
        leaf = np.asarray(leaf)
        # What `jnp.asarray` has no dtype for is compiled, shape by shape.
        return jax.device_put(leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf)

    return jax.tree.map(convert, tree)


def bits(tree: Any) -> list[bytes]:
    """Every leaf's bytes: equality of these tells −0.0 from 0.0, and NaN equals itself."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


class LinearSystem(NamedTuple):
    """A symmetric matrix and a right-hand side, and what may be hoped for."""

    name: str
    matrix: np.ndarray
    b: np.ndarray
    definite: bool
    """Positive definite, so that conjugate gradient must not blame the curvature."""


SIZE = 12


def spectrum_system(
    name: str, eigenvalues: np.ndarray, seed: int, *, in_range: bool = False
) -> LinearSystem:
    """A random rotation of a diagonal matrix; ``in_range`` makes b = A·(something)."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0]
    matrix = (q * eigenvalues) @ q.T
    matrix = (matrix + matrix.T) / 2
    b = rng.normal(size=SIZE)
    return LinearSystem(name, matrix, matrix @ b if in_range else b, bool((eigenvalues > 0).all()))


def linear_systems() -> list[LinearSystem]:
    """Systems that conjugate gradient must solve, and systems that it must survive."""
    ones, half = np.ones(SIZE), np.repeat([1.0, 0.0], SIZE // 2)
    spread = np.linspace(1, 3, SIZE)
    poisson = 2 * np.eye(SIZE) - np.eye(SIZE, k=1) - np.eye(SIZE, k=-1)
    rng = np.random.default_rng(0)
    b, v = rng.normal(size=SIZE), rng.normal(size=SIZE)
    holed, bad_b, infinite_b = np.eye(SIZE), b.copy(), b.copy()
    holed[3, 4] = holed[4, 3] = bad_b[2] = np.nan
    infinite_b[2] = np.inf
    return [
        LinearSystem("identity", np.eye(SIZE), b, True),
        LinearSystem("poisson", poisson, b, True),
        LinearSystem("zero b", poisson, 0 * b, True),
        LinearSystem("zero matrix", 0 * poisson, b, False),
        LinearSystem("zero matrix and b", 0 * poisson, 0 * b, False),
        LinearSystem("rank one, b in range", np.outer(v, v), 2 * v, False),
        LinearSystem("rank one, b not in range", np.outer(v, v), b, False),
        LinearSystem("NaN in the matrix", holed, b, False),
        LinearSystem("all NaN", np.full_like(poisson, np.nan), b, False),
        LinearSystem("infinite matrix", np.full_like(poisson, np.inf), b, False),
        LinearSystem("NaN in b", np.eye(SIZE), bad_b, False),
        LinearSystem("infinity in b", np.eye(SIZE), infinite_b, False),
        LinearSystem("huge matrix", 1e30 * poisson, b, True),
        LinearSystem("tiny matrix", 1e-25 * poisson, b, True),
        spectrum_system("singular, b in range", half * spread, 1, in_range=True),
        spectrum_system("singular, b not in range", half * spread, 2),
        spectrum_system("indefinite", (2 * half - 1) * spread, 3),
        spectrum_system("negative definite", -spread, 4),
        spectrum_system("negative identity", -ones, 5),
        *(spectrum_system(f"condition 1e{k}", np.logspace(-k, 0, SIZE), 6 + k) for k in range(13)),
    ]
