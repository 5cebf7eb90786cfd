"""TRPO by hand (arXiv:1502.05477): your own network and loop, and four functions of klamp.

``python examples/trpo_by_hand.py`` trains on CartPole-v1 and prints the mean length of episodes.
"""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import klamp

ENVIRONMENTS, LENGTH, RATES = 8, 256, {"discount": 0.99, "trace_decay": 0.95}


def draw(key, out):
    hidden = jax.random.normal(key, (4, 32)) / 2
    return {"hidden": hidden, "out": jnp.zeros((32, out))}


def network(theta, observation):
    return jnp.tanh(observation @ theta["hidden"]) @ theta["out"]


def policy(theta, observation):
    return klamp.Categorical(network(theta, observation))


@jax.jit
def learn(theta, phi, seen, action, reward, following, terminated, truncated, weight):
    value, next_value = (network(phi, x)[..., 0] for x in (seen, following))
    advantage = klamp.gae(reward, value, next_value, terminated, truncated, **RATES)
    batch = klamp.Batch(
        seen, action, klamp.standardize(advantage, weight), policy(theta, seen), weight
    )
    theta, report = klamp.trust_region_step(policy, theta, batch, max_kl=0.01)

    def error(phi):
        squares = jnp.square(network(phi, seen)[..., 0] - (advantage + value))
        return jnp.sum(weight * squares) / jnp.sum(weight)

    def descend(phi, _):
        return jax.tree.map(lambda p, slope: p - 0.03 * slope, phi, jax.grad(error)(phi)), None

    return theta, jax.lax.scan(descend, phi, None, length=200)[0], report


def train(iterations=30, seed=0):
    """Steps per ended episode, for each iteration."""
    envs = gymnasium.make_vec("CartPole-v1", ENVIRONMENTS)
    act = jax.jit(lambda theta, seen, key: policy(theta, seen).sample(key))
    keys = iter(jax.random.split(jax.random.key(seed), 2 + iterations * LENGTH))
    theta, phi = draw(next(keys), 2), draw(next(keys), 1)
    seen, ended, lengths = envs.reset(seed=seed)[0], np.zeros(ENVIRONMENTS, bool), []
    for _ in range(iterations):
        steps = []
        for _ in range(LENGTH):
            action = np.asarray(act(theta, seen, next(keys)))
            # After an episode's end comes a step that only resets: it has weight 0.
            weight = 1.0 - ended
            following, reward, terminated, truncated, _ = envs.step(action)
            row = (seen, action, reward / 100, following, terminated, truncated, weight)
            steps.append([np.array(part) for part in row])
            seen, ended = following.copy(), terminated | truncated
        rollout = [np.stack(part) for part in zip(*steps, strict=True)]
        theta, phi, report = learn(theta, phi, *(jnp.asarray(part) for part in rollout))
        lengths.append(float(rollout[-1].sum() / max(rollout[4].sum() + rollout[5].sum(), 1)))
        outcome = klamp.Outcome(int(report.outcome)).name
        print(f"{lengths[-1]:6.1f} steps per episode · KL {report.kl:.4f} · {outcome}")
    return lengths


if __name__ == "__main__":
    train()
