"""PPO as CleanRL's script does it: one file, one loop, PyTorch, Gymnasium's SyncVectorEnv.

The package index carries CleanRL only as a release for the retired `gym`, so this is the algorithm
and the structure of its `ppo.py` for discrete actions, written anew for Gymnasium: orthogonal
networks, one policy-and-value call a step, GAE in a loop, Adam with ε = 1e-5, advantages
standardised by minibatch, clipped value loss, and the same figures read off each minibatch. Its
tracking is left out.
"""

import itertools
import time
from typing import Any

import numpy as np

from systems.common import Marks, Measurement, Work, main, measurement, versions

DISCOUNT, TRACE_DECAY, CLIP = 0.99, 0.95, 0.2
LEARNING_RATE, ENTROPY, VALUE, MAX_NORM = 2.5e-4, 0.01, 0.5, 0.5


def network(sizes: list[int], last_gain: float) -> Any:
    """A tanh network with orthogonal weights."""
    from torch import nn

    layers: list[Any] = []
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        layer = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(layer.weight, last_gain if last else 2**0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


class Agent:
    """Policy and value, and one optimiser of both."""

    def __init__(self, observations: int, actions: int, hidden: tuple[int, ...]) -> None:
        import torch

        self.actor = network([observations, *hidden, actions], 0.01)
        self.critic = network([observations, *hidden, 1], 1.0)
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, eps=1e-5)

    def __call__(self, observation: Any, action: Any = None) -> tuple[Any, Any, Any, Any]:
        """Action, its log-probability, the entropy and the value."""
        from torch.distributions import Categorical

        policy = Categorical(logits=self.actor(observation))
        action = policy.sample() if action is None else action
        value = self.critic(observation).flatten()
        return action, policy.log_prob(action), policy.entropy(), value


class Storage:
    """A rollout [T, N], and what the next one starts from."""

    def __init__(self, envs: Any, length: int, seed: int) -> None:
        import torch

        shape = (length, envs.num_envs)
        self.envs = envs
        self.observation = torch.zeros(*shape, *envs.single_observation_space.shape)
        self.action, self.log_prob = torch.zeros(shape), torch.zeros(shape)
        self.reward, self.done, self.value = (torch.zeros(shape) for _ in range(3))
        self.next_observation = torch.Tensor(envs.reset(seed=seed)[0])
        self.next_done = torch.zeros(envs.num_envs)

    def collect(self, agent: Agent) -> None:
        """T steps of every environment."""
        import torch

        for t in range(len(self.reward)):
            self.observation[t], self.done[t] = self.next_observation, self.next_done
            with torch.no_grad():
                action, self.log_prob[t], _, self.value[t] = agent(self.next_observation)
            self.action[t] = action
            seen, reward, terminated, truncated, _ = self.envs.step(action.numpy())
            self.reward[t] = torch.tensor(reward)
            self.next_observation = torch.Tensor(seen)
            self.next_done = torch.Tensor(np.logical_or(terminated, truncated))

    def advantages(self, agent: Agent) -> Any:
        """GAE, backwards in time."""
        import torch

        with torch.no_grad():
            value = agent.critic(self.next_observation).flatten()
            done, trace, advantage = self.next_done, 0.0, torch.zeros_like(self.reward)
            for t in reversed(range(len(self.reward))):
                delta = self.reward[t] + DISCOUNT * value * (1 - done) - self.value[t]
                trace = delta + DISCOUNT * TRACE_DECAY * (1 - done) * trace
                advantage[t], done, value = trace, self.done[t], self.value[t]
        return advantage


def update(agent: Agent, storage: Storage, epochs: int, size: int) -> None:
    """Epochs of shuffled minibatches."""
    advantage = storage.advantages(agent)
    target = (advantage + storage.value).flatten()
    observation = storage.observation.flatten(0, 1)
    rows = [x.flatten() for x in (storage.action.long(), storage.log_prob, storage.value)]
    order = np.arange(len(target))
    for _ in range(epochs):
        np.random.shuffle(order)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            chosen = [row[part] for row in (*rows, advantage.flatten(), target)]
            step(agent, observation[part], *chosen)


def step(
    agent: Agent, observation: Any, action: Any, old: Any, value: Any, advantage: Any, target: Any
) -> tuple[Any, ...]:
    """One minibatch; the figures that the script reads off it."""
    import torch

    _, log_prob, entropy, new_value = agent(observation, action)
    log_ratio = log_prob - old
    ratio = log_ratio.exp()
    with torch.no_grad():
        figures = (-log_ratio).mean(), ((ratio - 1) - log_ratio).mean()
        clipped = ((ratio - 1).abs() > CLIP).float().mean().item()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    bounded = torch.clamp(ratio, 1 - CLIP, 1 + CLIP)
    policy_loss = torch.max(-advantage * ratio, -advantage * bounded).mean()
    near = value + torch.clamp(new_value - value, -CLIP, CLIP)
    value_loss = 0.5 * torch.max((new_value - target) ** 2, (near - target) ** 2).mean()
    loss = policy_loss - ENTROPY * entropy.mean() + VALUE * value_loss
    agent.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(agent.parameters, MAX_NORM)
    agent.optimizer.step()
    return clipped, *figures


def measure(work: Work) -> Measurement:
    """Its own loop, iteration by iteration."""
    began = time.perf_counter()
    import gymnasium
    import torch

    torch.set_num_threads(len(work["cores"]))
    torch.manual_seed(work["seed"])
    np.random.seed(work["seed"])

    def make() -> Any:
        return gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make(work["env"]))

    envs = gymnasium.vector.SyncVectorEnv(
        [make] * work["num_envs"], autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
    )
    space = envs.single_observation_space
    agent = Agent(int(np.prod(space.shape)), envs.single_action_space.n, work["hidden_sizes"])
    storage = Storage(envs, work["rollout_length"], work["seed"])
    start_s, marks = time.perf_counter() - began, Marks()
    for _ in range(work["warmup"] + work["iterations"]):
        marks.begin()
        storage.collect(agent)
        marks.middle(storage.reward.numel())
        update(agent, storage, work["epochs"], work["minibatch_size"])
    done = marks.iterations()
    found = {"algorithm of": "CleanRL ppo.py"} | versions("torch", "gymnasium", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
