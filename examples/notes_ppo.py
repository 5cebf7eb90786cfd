"""The PPO listing of the notes, as settings of klamp: ``python examples/notes_ppo.py [ENV]``.

    the listing                                     here
    ------------------------------------------------------------------------------------------
    buffer of some episodes, then an update         num_envs × rollout_length
    80 epochs over the whole buffer                 epochs=80, minibatch_size = the whole batch
    returns: discounted sums, standardised          advantage_estimator="standardized-return"
    advantage: return − V, not scaled again         advantage_normalization="off"
    0.5 · MSE between V and that return             value_target="monte-carlo", value_coefficient
    entropy bonus 0.01, clip 0.2, γ 0.99            under the same names
    Adam, 3e-4 for the actor, 1e-3 for the critic   learning_rate, value_learning_rate
    action_std 0.6, less 0.05 each 250,000 steps,   action_scale="scheduled"; the decay is spread
      not below 0.1                                   evenly: 2e-7 a step
    tanh on the mean of the actions                 mean_activation="tanh"
    two tanh layers of 64 for actor and critic      the default
    no limit on the gradient's norm                 max_gradient_norm: so large that it never binds

The mean lies within ±1 in units of the action, as in the listing: on an environment whose actions
reach farther, such as Pendulum-v1 (±2), this policy's mean does not.

What it learns, one run each (``--steps 300000 --seed 0``; mean return of the last 100 training
episodes, from that of the first four): HalfCheetah-v5 from −234 to 47, Pendulum-v1 from −1,413 to
−325. One seed says little about others. For comparison, klamp's PPO preset reaches 1,193 on
HalfCheetah-v5 after as many steps and −218 on Pendulum-v1 after 200,000
(`benchmarks/results/learning.md`): the listing learns, but slowly.
"""

import argparse
from dataclasses import replace

import gymnasium

import klamp

ENVIRONMENTS, LENGTH = 4, 400
"""The listing collects four episodes of at most 400 steps between two updates."""

ALGORITHM = klamp.PPO(
    clip=0.2,
    epochs=80,
    minibatch_size=ENVIRONMENTS * LENGTH,
    learning_rate=3e-4,
    value_learning_rate=1e-3,
    entropy_coefficient=0.01,
    value_coefficient=0.5,
    max_gradient_norm=1e9,
)
SHARED = {
    "num_envs": ENVIRONMENTS,
    "rollout_length": LENGTH,
    "discount": 0.99,
    "advantage_estimator": "standardized-return",
    "advantage_normalization": "off",
    "value_target": "monte-carlo",
    "normalize_observation": False,
}
CONTINUOUS = {
    "mean_activation": "tanh",
    "action_scale": "scheduled",
    "action_std": 0.6,
    "action_std_decay": 0.05 / 250_000,
    "action_std_minimum": 0.1,
}
"""What the listing does where the actions are continuous."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("env", nargs="?", default="CartPole-v1")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="the run's folder; runs/ENV-ppo-SEED by default")
    given = parser.parse_args()
    bare = gymnasium.make(given.env)
    continuous = CONTINUOUS if isinstance(bare.action_space, gymnasium.spaces.Box) else {}
    bare.close()
    settings = {"steps": given.steps, "seed": given.seed} | SHARED | continuous
    # The listing adds an entropy bonus there, too, which a scheduled scale leaves without gradient.
    algorithm = replace(ALGORITHM, entropy_coefficient=0.0) if continuous else ALGORITHM
    klamp.train(given.env, algorithm, out=given.out, **settings)


if __name__ == "__main__":
    main()
