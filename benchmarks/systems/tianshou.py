"""Tianshou 2: its OnPolicyTrainer over its Collector and DummyVectorEnv.

TRPO there has neither a number of CG iterations nor minibatches for the critic. To give it the same
work as the others, two of its methods are overridden: CG runs as long as the work says, and after
its own step, which includes one step of the critic on the whole batch, the critic is fitted by the
epochs and minibatches of the work, with Tianshou's own optimiser and batches.
"""

import time
import warnings
from typing import Any

from systems.common import Marks, Measurement, Work, main, measurement, versions


def networks(work: Work, env: Any) -> tuple[Any, Any]:
    """Policy and critic, separate, of the work's layers."""
    import gymnasium
    import torch
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy, ProbabilisticActorPolicy
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
    from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
    from torch.distributions import Independent, Normal

    def body() -> Any:
        return Net(
            state_shape=env.observation_space.shape,
            hidden_sizes=work["hidden_sizes"],
            activation=torch.nn.Tanh,
        )

    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        actor: Any = DiscreteActor(
            preprocess_net=body(), action_shape=env.action_space.n, softmax_output=False
        )
        policy: Any = DiscreteActorPolicy(actor=actor, action_space=env.action_space)
        return policy, DiscreteCritic(preprocess_net=body())
    actor = ContinuousActorProbabilistic(
        preprocess_net=body(), action_shape=env.action_space.shape, unbounded=True
    )
    policy = ProbabilisticActorPolicy(
        actor=actor,
        dist_fn=lambda parts: Independent(Normal(*parts), 1),
        action_space=env.action_space,
    )
    return policy, ContinuousCritic(preprocess_net=body())


def trpo(work: Work) -> Any:
    """Tianshou's TRPO with the work's CG iterations and critic minibatches."""
    from tianshou.algorithm import TRPO
    from torch.nn.functional import mse_loss

    class SameWork(TRPO):
        def _conjugate_gradients(self, *arguments: Any, **_: Any) -> Any:
            return super()._conjugate_gradients(*arguments, nsteps=work["cg_iterations"])

        def _update_with_batch(self, batch: Any, batch_size: Any, repeat: int) -> Any:
            statistics = super()._update_with_batch(batch, None, 1)
            for _ in range(repeat):
                for part in batch.split(batch_size, merge_last=True):
                    value = self.critic(part.obs).flatten()
                    self.optim.step(mse_loss(part.returns, value))
            return statistics

    return SameWork


def algorithm(work: Work, env: Any) -> Any:
    """PPO or TRPO; what the work does not name stays at the library's defaults."""
    from tianshou.algorithm import PPO
    from tianshou.algorithm.optim import AdamOptimizerFactory

    policy, critic = networks(work, env)
    parts = {"policy": policy, "critic": critic, "optim": AdamOptimizerFactory(lr=3e-4)}
    if work["algorithm"] == "ppo":
        return PPO(**parts, max_grad_norm=0.5)
    return trpo(work)(**parts, optim_critic_iters=1)


def trainer(work: Work, marks: Marks) -> Any:
    """Its trainer, with marks where a collection begins and ends."""
    import gymnasium
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OnPolicyTrainer, OnPolicyTrainerParams

    class Timed(OnPolicyTrainer):
        def _collect_training_data(self) -> Any:
            marks.begin()
            found = super()._collect_training_data()
            marks.middle(found.n_collected_steps)
            return found

    batch = work["num_envs"] * work["rollout_length"]
    envs = DummyVectorEnv([lambda: gymnasium.make(work["env"])] * work["num_envs"])
    envs.seed(work["seed"])
    chosen = algorithm(work, gymnasium.make(work["env"]))
    collector = Collector(chosen, envs, VectorReplayBuffer(batch, work["num_envs"]))
    collector.reset()
    return Timed(
        chosen,
        OnPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=batch * (work["warmup"] + work["iterations"]),
            collection_step_num_env_steps=batch,
            batch_size=work["minibatch_size"],
            update_step_num_repetitions=work["epochs"],
            show_progress=False,
        ),
    )


def measure(work: Work) -> Measurement:
    """One epoch of its trainer is as many iterations as the work asks for."""
    began = time.perf_counter()
    warnings.simplefilter("ignore")  # its line search warns at every step back
    import torch

    torch.set_num_threads(len(work["cores"]))
    torch.manual_seed(work["seed"])
    marks = Marks()
    run = trainer(work, marks)
    start_s = time.perf_counter() - began
    run.run()
    done = marks.iterations()
    found = versions("tianshou", "torch", "gymnasium", "numpy")
    return measurement(start_s, done[0], done[work["warmup"] :]) | {"versions": found}


if __name__ == "__main__":
    main(measure)
