"""Features and a head are ``Categorical`` of their product, which is never held."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_checks import precision

import klamp
from klamp import Batch, Categorical, Shared, kl_divergence
from klamp.lm.networks import vocabulary
from klamp.lm.networks.vocabulary import VocabularyDistribution

V, D, SAMPLES = 40, 5, (3, 4)
DRAW = np.random.default_rng(0)
HEAD, OTHER_HEAD = (jnp.asarray(DRAW.normal(size=(V, D)), jnp.float32) for _ in range(2))
FEATURES, OTHERS, TANGENT = (
    jnp.asarray(DRAW.normal(size=(*SAMPLES, D)), jnp.float32) for _ in range(3)
)
ACTION = jnp.asarray(DRAW.integers(0, V, SAMPLES))


@pytest.fixture(autouse=True)
def five_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve rows are two whole pieces and a rest."""
    monkeypatch.setattr(vocabulary, "AT_ONCE", 5 * V)


def test_every_quantity_is_that_of_categorical() -> None:
    @jax.jit
    def both(features: jax.Array, others: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        ours = VocabularyDistribution(features, Shared(HEAD), 0.7)
        other = VocabularyDistribution(others, Shared(OTHER_HEAD))
        plain, plain_other = (
            Categorical(features @ HEAD.T / 0.7),
            Categorical(others @ OTHER_HEAD.T),
        )
        return [
            (ours.log_prob(ACTION), plain.log_prob(ACTION)),
            (ours.entropy(), plain.entropy()),
            (kl_divergence(p=ours, q=other), kl_divergence(p=plain, q=plain_other)),
            (ours.mode(), plain.mode()),
        ]

    for ours, plain in both(FEATURES, OTHERS):
        assert ours.shape == SAMPLES
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    gradients = jax.jit(jax.jacrev(lambda f: [(a.sum(), b.sum()) for a, b in both(f, OTHERS)[:3]]))
    for ours, plain in gradients(FEATURES):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)


def test_the_metric_is_that_of_categorical_seen_from_the_features() -> None:
    def logits(features: jax.Array) -> jax.Array:
        return features @ HEAD.T / 0.7

    pushed = Categorical(logits(TANGENT))
    expected = Categorical(logits(FEATURES)).fisher_metric(pushed).logits @ HEAD / 0.7
    tangent = VocabularyDistribution(TANGENT, Shared(jnp.full_like(HEAD, jnp.nan)), 0.7)
    found = VocabularyDistribution(FEATURES, Shared(HEAD), 0.7).fisher_metric(tangent)
    np.testing.assert_allclose(found.features, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.compiles
def test_a_step_of_trpo_is_the_same() -> None:
    """In float64, where what is left is no rounding of conjugate gradient's."""

    def ours(theta: dict[str, jax.Array], inputs: tuple[jax.Array, Shared]) -> object:
        return VocabularyDistribution(inputs[0] @ theta["w"] + theta["b"], inputs[1])

    def plain(theta: dict[str, jax.Array], inputs: tuple[jax.Array, Shared]) -> object:
        return Categorical((inputs[0] @ theta["w"] + theta["b"]) @ inputs[1].value.T)

    with precision("float64"):
        inputs = (jnp.asarray(OTHERS, float), Shared(jnp.asarray(HEAD, float)))
        theta = {"w": jnp.eye(D), "b": jnp.zeros(D)}
        weight = jnp.ones(SAMPLES).at[1, 2:].set(0)
        advantage = jax.random.normal(jax.random.key(4), SAMPLES)
        found = []
        for policy in (ours, plain):
            batch = Batch(inputs, ACTION, advantage, policy(theta, inputs), weight)
            found.append(klamp.trust_region_step(policy, theta, batch, max_kl=0.01))
        (new, report), (expected, its) = found
        assert new["w"].dtype == jnp.float64
        assert int(report.outcome) == klamp.Outcome.ACCEPTED
        assert float(jnp.abs(new["w"] - theta["w"]).max()) > 1e-2
        for name in theta:
            np.testing.assert_allclose(new[name], expected[name], atol=1e-9)
        np.testing.assert_allclose(report.kl, its.kl, rtol=1e-7)


def test_samples_follow_the_probabilities_and_no_neighbour() -> None:
    distribution = VocabularyDistribution(FEATURES[0, :1], Shared(HEAD), 2.0)
    noise = distribution.noise(jax.random.key(5), (4000,))
    drawn = eqx.filter_jit(distribution.sample_from)(noise)
    assert drawn.shape == (4000, 1)
    p = np.exp(np.asarray(Categorical(FEATURES[0, 0] @ HEAD.T / 2).log_probabilities))
    share = np.bincount(np.asarray(drawn).ravel(), minlength=V) / 4000
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p / 4000) + 1e-3)
    np.testing.assert_array_equal(distribution.sample_from(noise[7:8]), drawn[7:8])


@pytest.mark.parametrize("gradient", [False, True])
def test_logits_of_all_rows_are_never_held(gradient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "AT_ONCE", 2**16)
    head, features = jnp.ones((2**12, D)), jnp.ones((2**9, D))

    def total(features: jax.Array) -> jax.Array:
        choice = VocabularyDistribution(features, Shared(head))
        kl = choice.kl_to(VocabularyDistribution(features + 1, Shared(head)))
        return jnp.sum(kl + choice.entropy() + choice.log_prob(jnp.zeros(2**9, int)))

    program = jax.jit(jax.grad(total) if gradient else total).lower(features).compile()
    needed = program.memory_analysis()
    assert needed is not None
    assert needed.temp_size_in_bytes < 4 * 2**21 / 2
