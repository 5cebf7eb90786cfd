"""The variance of the policy gradient of small batches, with each weight, at one policy."""

from dataclasses import asdict, replace
from typing import Any

import experiment as ex
import jax
import jax.numpy as jnp
import numpy as np

import klamp
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.mathematics.objectives import log_prob_surrogate
from klamp.runtime.seeding import Purpose, key
from klamp.training.iteration import start
from klamp.training.prepare import prepare

TRAINED = {"steps": 30_000, "num_envs": 4, "rollout_length": 512}
"""How the policy came about."""
ESTIMATORS = {"return": "return R", "monte-carlo": "R − V", "gae": "GAE(0.95)"}
ROLLOUTS, COPIES = 25, 8
"""25 rollouts of 8 environments: 200 batches of one environment's 512 steps each."""


def variances(seed: int) -> ex.Run:
    """The variance of the gradient at one policy, with each weight, from the same batches."""
    settings = Settings(
        steps=30_000, seed=seed, num_envs=COPIES, rollout_length=512, advantage_normalization="off"
    )
    config = RunConfig("CartPole-v1", klamp.REINFORCE(), settings)
    return ex.cached(asdict(config) | {"measured": "variance"}, lambda: _variances(config))


def _variances(config: RunConfig) -> ex.Run:
    # The policy and the critic of a run that is under way.
    trained = ex.runs(
        ex.Case("for the variance", klamp.REINFORCE(), settings=TRAINED,
             measure=lambda result: {"theta": np.asarray(result.policy.theta).tolist()}),
        [config.settings.seed],
    )[0]  # fmt: skip
    run, _ = start(config)
    theta = jnp.asarray(trained["theta"], jnp.float32)

    def gradient(theta: Any, inputs: Any, action: Any, weight: Any) -> Any:
        def surrogate(part: Any) -> Any:
            return log_prob_surrogate(run.model.policy(part, inputs).log_prob(action), weight)

        return jax.grad(surrogate)(theta[: run.model.policy_end])

    @jax.jit
    def gradients(theta: Any, rollout: Any) -> dict[str, Any]:
        """[environments, parameters] for each weight."""
        found = {}
        for name in ESTIMATORS:
            settings = replace(
                config.settings, advantage_estimator=name, value_target="monte-carlo"
            )
            batch = prepare(run.model, theta, rollout, None, jnp.float32(1), settings)
            parts = (batch.inputs, batch.action, batch.advantage)
            parts = jax.tree.map(lambda x: x.reshape(-1, COPIES, *x.shape[1:]), parts)
            found[name] = jax.vmap(gradient, in_axes=(None, 1, 1, 1))(theta, *parts)
        return found

    found: dict[str, list[Any]] = {name: [] for name in ESTIMATORS}
    for number in range(ROLLOUTS):
        acting = key(config.settings.seed, Purpose.ACT, number)
        for name, rows in gradients(theta, run.collector.collect(theta, None, acting)).items():
            found[name].append(np.asarray(rows))
    run.environments.close()
    return {name: float(np.concatenate(rows).var(axis=0).sum()) for name, rows in found.items()}
