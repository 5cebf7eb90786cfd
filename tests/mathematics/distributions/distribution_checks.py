"""What must hold of every distribution, as functions that each module's tests call."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from klamp import fisher_vector_product, kl_divergence, kl_hessian_vector_product

SAMPLES = 100_000


def precision(dtype: str) -> AbstractContextManager[Any]:
    """Run the body in float32 or float64."""
    return jax.enable_x64(dtype == "float64")


def _agrees(samples: Any, expected: Any, sigmas: float = 4.0) -> np.ndarray:
    """Whether each row's expectation lies within its Monte-Carlo error (and float32 rounding)."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    return np.abs(samples.mean(axis=0) - np.asarray(expected)) <= sigmas * error + 2e-5


def check_monte_carlo(p: Any, q: Any, seed: int = 0, samples: int = SAMPLES) -> None:
    """Entropy and KL(p‖q) are the means they are defined by; KL(q‖p) is not that mean."""

    @jax.jit
    def measure(p: Any, q: Any, key: Any) -> Any:
        actions = p.sample_from(p.noise(key, (samples,)))
        kl = [kl_divergence(p=a, q=b) for a, b in ((p, q), (q, p), (p, p))]
        return p.log_prob(actions), q.log_prob(actions), p.entropy(), kl

    log_p, log_q, entropy, (kl, reverse, none) = jax.device_get(measure(p, q, jax.random.key(seed)))
    assert _agrees(-log_p, entropy).all()
    assert _agrees(log_p - log_q, kl).all()
    assert not _agrees(log_p - log_q, reverse).any()
    assert np.all(none == 0)
    one = p.sample(jax.random.key(seed))
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(jnp.shape, p.mode())


def check_fisher(build: Callable[[Any], Any], outputs: int) -> None:
    """The Fisher product is the Hessian of the KL, and symmetric and positive semi-definite."""
    rng = np.random.default_rng(7)
    numbers = [rng.normal(size=shape) for shape in ((6, 3), (3, outputs), (3, outputs))]

    def policy(theta: Any, inputs: Any) -> Any:
        return build(jnp.sin(inputs @ theta))

    hessian = np.zeros(0)
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        with precision(dtype):
            x, theta, v = (jnp.asarray(number, dtype) for number in numbers)
            fisher = jax.jit(lambda v, theta=theta, x=x: fisher_vector_product(policy, theta, x, v))
            product, swapped = fisher(v), fisher(jnp.roll(v, 1))
            if dtype == "float64":
                of_kl = jax.jit(kl_hessian_vector_product, static_argnums=0)(policy, theta, x, v)
                hessian = np.asarray(of_kl)
            scale = np.linalg.norm(hessian)
            assert scale > 0
            assert np.linalg.norm(product - hessian) <= tolerance * scale
            assert float(jnp.vdot(v, product)) >= 0
            asymmetry = jnp.vdot(jnp.roll(v, 1), product) - jnp.vdot(v, swapped)
            assert abs(float(asymmetry)) <= tolerance * scale


def check_fisher_is_the_scores_covariance(build: Callable[[Any], Any], outputs: int) -> None:
    """vᵀFv = E[(v·∇ log π)²], by Monte Carlo: the definition, which no KL enters."""
    rng = np.random.default_rng(3)
    out, v = (jnp.asarray(rng.normal(size=(1, outputs)), jnp.float32) for _ in range(2))

    def policy(theta: Any, inputs: Any) -> Any:
        return build(theta)

    @jax.jit
    def measure(key: Any) -> Any:
        actions = build(out).sample_from(build(out).noise(key, (SAMPLES // 4,)))

        def log_prob(theta: Any) -> Any:
            return build(theta).log_prob(actions)[:, 0]

        _, score = jax.jvp(log_prob, (out,), (v,))
        return score, jnp.vdot(v, fisher_vector_product(policy, out, None, v))

    score, expected = measure(jax.random.key(1))
    assert _agrees(np.asarray(score)[:, None] ** 2, expected).all()


def check_entropy_gradient(build: Callable[[Any], Any], outputs: int) -> None:
    """The entropy's derivative is its finite difference."""
    rng = np.random.default_rng(5)
    with precision("float64"):
        out, v = (jnp.asarray(rng.normal(size=(2, outputs))) for _ in range(2))

        @jax.jit
        def entropy(out: Any) -> Any:
            return build(out).entropy().sum()

        _, slope = jax.jvp(entropy, (out,), (v,))
        step = 1e-5
        difference = (entropy(out + step * v) - entropy(out - step * v)) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8)
