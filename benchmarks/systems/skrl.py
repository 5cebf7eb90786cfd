"""skrl 2: its SequentialTrainer over Gymnasium's own vector environment.

skrl trains on the rows in which a vector environment only resets, too; they are no environment
steps, so they are not counted. It keeps observations in a memory of [T, N] and takes contiguous
minibatches, whose number is given.
"""

import itertools
import time
from typing import Any

import numpy as np

from systems.common import Marks, Measurement, Work, main, measurement, versions


def models(work: Work, env: Any) -> dict[str, Any]:
    """Policy and value, separate, as its documentation writes models."""
    import gymnasium
    import torch
    from skrl.models.torch import CategoricalMixin, DeterministicMixin, GaussianMixin, Model
    from torch import nn

    def layers(outputs: int) -> Any:
        sizes = [int(np.prod(env.observation_space.shape)), *work["hidden_sizes"]]
        parts: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            parts += [nn.Linear(fan_in, fan_out), nn.Tanh()]
        return nn.Sequential(*parts, nn.Linear(sizes[-1], outputs))

    spaces = {
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        "device": "cpu",
    }

    class Categorical(CategoricalMixin, Model):
        def __init__(self) -> None:
            Model.__init__(self, **spaces)
            CategoricalMixin.__init__(self)
            self.net = layers(self.num_actions)

        def compute(self, inputs: Any, role: str) -> Any:
            return self.net(inputs["observations"]), {}

    class Gaussian(GaussianMixin, Model):
        def __init__(self) -> None:
            Model.__init__(self, **spaces)
            GaussianMixin.__init__(self)
            self.net = layers(self.num_actions)
            self.log_std = nn.Parameter(torch.zeros(self.num_actions))

        def compute(self, inputs: Any, role: str) -> Any:
            return self.net(inputs["observations"]), {"log_std": self.log_std}

    class Value(DeterministicMixin, Model):
        def __init__(self) -> None:
            Model.__init__(self, **spaces)
            DeterministicMixin.__init__(self)
            self.net = layers(1)

        def compute(self, inputs: Any, role: str) -> Any:
            return self.net(inputs["observations"]), {}

    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    return {"policy": Categorical() if discrete else Gaussian(), "value": Value()}


def agent(work: Work, env: Any, marks: Marks, counter: Any) -> Any:
    """PPO or TRPO, with marks around its update; no tracking, no checkpoints."""
    from skrl.agents.torch.ppo import PPO
    from skrl.agents.torch.trpo import TRPO
    from skrl.memories.torch import RandomMemory

    kind = PPO if work["algorithm"] == "ppo" else TRPO

    class Timed(kind):
        def update(self, **arguments: Any) -> None:
            marks.middle(counter.take())
            super().update(**arguments)
            marks.begin()

    own = {} if kind is PPO else {"conjugate_gradient_steps": work["cg_iterations"]}
    batch = work["num_envs"] * work["rollout_length"]
    return Timed(
        models=models(work, env),
        memory=RandomMemory(memory_size=work["rollout_length"], num_envs=env.num_envs),
        observation_space=env.observation_space,
        action_space=env.action_space,
        device="cpu",
        cfg={
            "rollouts": work["rollout_length"],
            "learning_epochs": work["epochs"],
            "mini_batches": batch // work["minibatch_size"],
            "experiment": {"write_interval": 0, "checkpoint_interval": 0},
            **own,
        },
    )


class Counter:
    """A vector environment that counts its steps, but not the rows in which it only resets."""

    def __init__(self, env: Any) -> None:
        self._step, self._steps, self._ended = env.step, 0, np.zeros(env.num_envs, bool)
        env.step = self.step

    def step(self, actions: Any) -> Any:
        """Step, and count the environments that did."""
        result = self._step(actions)
        self._steps += int(np.sum(~self._ended))
        self._ended = (result[2] | result[3]) & ~self._ended
        return result

    def take(self) -> int:
        """The steps since the last time."""
        steps, self._steps = self._steps, 0
        return steps


def measure(work: Work) -> Measurement:
    """Its trainer's own loop."""
    import gymnasium

    discrete = isinstance(gymnasium.make(work["env"]).action_space, gymnasium.spaces.Discrete)
    if work["algorithm"] == "trpo" and discrete:
        raise SystemExit("its TRPO takes continuous actions only")
    began = time.perf_counter()
    import torch
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.trainers.torch import SequentialTrainer

    torch.set_num_threads(len(work["cores"]))
    torch.manual_seed(work["seed"])
    vector = gymnasium.make_vec(work["env"], num_envs=work["num_envs"])
    counter, env, marks = Counter(vector), wrap_env(vector, verbose=False), Marks()
    iterations = work["warmup"] + work["iterations"]
    run = SequentialTrainer(
        env=env,
        agents=agent(work, env, marks, counter),
        cfg={
            "timesteps": iterations * work["rollout_length"],
            "headless": True,
            "disable_progressbar": True,
            "close_environment_at_exit": False,
        },
    )
    start_s = time.perf_counter() - began
    marks.begin()
    run.train()
    marks.begins.pop()  # the last update began a rollout that was not collected
    done = marks.iterations()
    found = versions("skrl", "torch", "gymnasium", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
