"""Every setting a person can choose: frozen dataclasses, checked when made, light to import.

What all algorithms share is in ``Settings``; what belongs to one update alone is in the class of
that algorithm, in ``config.algorithms``. The docstring under each field is also its help on the
command line. Nothing here imports JAX, so that ``klamp --help`` answers at once.
"""

from dataclasses import dataclass
from typing import Any

from klamp.config import choices
from klamp.config.validation import check, is_integer, is_number, require


@dataclass(frozen=True)
class Settings:
    """What all algorithms share: the budget, the environments, the networks, the critic."""

    steps: int = 100_000
    """Environment steps to train for. The last rollout is completed, so a little more is done."""
    schedule_steps: int | None = None
    """Steps over which what has a final value (final_learning_rate, final_clip) goes to it, and
    stays there; unset: all of the run's."""
    seed: int = 0
    """Every random number of the run derives from it; 0 to 2⁶³ − 1."""
    num_envs: int = 8
    """Environments that are stepped together."""
    rollout_length: int = 256
    """Steps of each environment between two updates; the batch is this times num_envs."""
    discount: float = 0.99
    """γ, the weight of a reward one step later; 0 to 1."""
    trace_decay: float = 0.95
    """λ of generalised advantage estimation: 0 trusts the critic, 1 the sampled returns."""
    normalize_observation: bool = False
    """Scale observations by their running mean and deviation. Advised unless they are near 1.
    Images and other bytes are not: they are divided by 255, whatever this says."""
    normalize_reward: bool = False
    """Scale rewards by the running deviation of the discounted return (reports stay raw)."""
    advantage_estimator: choices.AdvantageEstimator = "gae"
    """gae; monte-carlo: the return less the critic's value; return: the rewards that the rollout
    saw, without a critic; standardized-return: those to mean 0 and deviation 1, less the value.
    Under REINFORCE its baseline decides."""
    value_target: choices.ValueTarget = "td-lambda"
    """What the critic learns: the λ-return, or the (standardised, if so) Monte-Carlo return."""
    advantage_normalization: choices.AdvantageNormalization = "batch"
    """Standardise advantages over the whole batch, over each minibatch (A2C and REINFORCE have
    one, NPG and TRPO none), or not at all."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of the policy and of the critic; images get convolutions."""
    activation: choices.Activation = "tanh"
    """Nonlinearity of the hidden layers."""
    shared_network: bool = False
    """Policy and critic share the hidden layers, instead of each having its own."""
    recurrent_size: int = 0
    """Width of a gated recurrent unit that policy and critic share; 0: no memory."""
    sequence_length: int = 32
    """Steps that the gradient of a recurrent network reaches back; divides rollout_length."""
    dropout: float = 0.0
    """Share of the policy's hidden units left out, by one mask a transition that collection and
    every part of the update see alike; 0: none. Evaluation leaves nothing out."""
    initial_log_std: float = 0.0
    """Log of the initial standard deviation of continuous actions, in units of the action."""
    action_scale: choices.ActionScale = "learned"
    """Standard deviation of continuous actions: learned, the same in every state; state, learned
    as a function of the state; scheduled, from action_std by action_std_decay a step."""
    action_std: float = 0.6
    """The scheduled standard deviation at the first step."""
    action_std_decay: float = 2e-7
    """What a scheduled standard deviation loses each environment step."""
    action_std_minimum: float = 0.1
    """What a scheduled standard deviation does not fall below."""
    mean_activation: choices.MeanActivation = "none"
    """tanh keeps the mean of a Gaussian within ±1, in units of the action (its samples may lie
    beyond); none leaves it as it is."""
    action_bounds: choices.ActionBounds = "clip"
    """How continuous actions keep to their bounds: clip, a Gaussian cut off on the way to the
    environment; tanh, a Gaussian squashed into them; beta, a Beta distribution over them."""
    critic_epochs: int = 10
    """Passes over the batch that fit the critic by itself, after the step of TRPO, NPG and
    REINFORCE with V; the others learn it together with the policy."""
    critic_minibatch_size: int = 64
    """Samples in each step of that fit; where the batch is below the default, all of it."""
    critic_learning_rate: float = 1e-3
    """Adam's step size of that fit."""
    checkpoint_interval: int = 50_000
    """Environment steps between two checkpoints; one is always made at the end."""
    keep_checkpoint_every: int = 10
    """Of so many checkpoints one stays for good, besides the last three and the best; 0: none."""
    vectorization: choices.Vectorization = "auto"
    """auto: the environment's own vector form for more than two, else one process; sync: one
    process; async: one process an environment, for environments that take over a millisecond a
    step. A script that asks for async must train under `if __name__ == "__main__":`."""
    step_limit_s: float = 60.0
    """Seconds that an environment may take for a step: at the start-up check, which then ends the
    run; under vectorization async at all times, which then plays its episode again elsewhere."""

    def __post_init__(self) -> None:
        """Check every field."""
        if isinstance(self.hidden_sizes, list):
            object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        object.__setattr__(self, "steps", _integral(self.steps))
        check(
            self,
            positive=("critic_learning_rate", "action_std", "action_std_minimum", "step_limit_s"),
            not_negative=("action_std_decay",),
            shares=("discount", "trace_decay"),
            counts=(
                "steps",
                "num_envs",
                "rollout_length",
                "critic_epochs",
                "critic_minibatch_size",
                "checkpoint_interval",
                "sequence_length",
                "schedule_steps",
            ),
            optional=("schedule_steps",),
            choices={
                "activation": ("tanh", "relu", "gelu", "silu", "elu"),
                "vectorization": ("auto", "sync", "async"),
                "advantage_normalization": ("batch", "minibatch", "off"),
                "action_scale": ("learned", "state", "scheduled"),
                "action_bounds": ("clip", "tanh", "beta"),
                "mean_activation": ("none", "tanh"),
                "advantage_estimator": ("gae", "monte-carlo", "return", "standardized-return"),
                "value_target": ("td-lambda", "monte-carlo"),
            },
        )
        scales_agree = (
            self.advantage_estimator != "standardized-return" or self.value_target == "monte-carlo"
        )
        expected = "'monte-carlo' with standardized-return, whose scale the critic must share"
        require(scales_agree, self, "value_target", expected)
        require(
            is_number(self.dropout) and 0 <= self.dropout < 1,
            self,
            "dropout",
            "a number from 0 to below 1",
        )
        for name in ("recurrent_size", "keep_checkpoint_every"):
            require(is_integer(getattr(self, name), 0), self, name, "an integer ≥ 0")
        whole = f"a divisor of the rollout_length, {self.rollout_length}"
        require(self.rollout_length % self.sequence == 0, self, "sequence_length", whole)
        seed_fits = is_integer(self.seed, 0) and self.seed < 2**63
        require(seed_fits, self, "seed", "an integer from 0 to 2**63 − 1")
        require(is_number(self.initial_log_std), self, "initial_log_std", "a finite number")
        sizes: Any = self.hidden_sizes
        are_sizes = isinstance(sizes, tuple) and all(is_integer(size, 1) for size in sizes)
        require(are_sizes, self, "hidden_sizes", "a sequence of integers ≥ 1, such as (64, 64)")
        least = ""
        if 2**31 <= self.batch < 10**30:
            # Two observations of one number, an action, reward, weight and two flags.
            least = (
                f"; one rollout of {self.batch:,} steps takes over {self.batch * 22 // 10**9:,} GB"
            )
        require(self.num_envs <= 2**20, self, "num_envs", f"at most 1,048,576{least}")
        fits = self.batch < 2**31
        require(fits, self, "rollout_length", f"below 2³¹ over the number of environments{least}")

    @property
    def batch(self) -> int:
        """Steps of all environments between two updates."""
        return self.num_envs * self.rollout_length

    def progress(self, step: int) -> float:
        """How far what is scheduled has come after so many steps, from 0 to 1."""
        return min(step / (self.schedule_steps or self.steps), 1.0)

    @property
    def sequence(self) -> int:
        """Rows of a batch that belong together: a sequence of a recurrent network, else one."""
        return self.sequence_length if self.recurrent_size else 1


def _integral(value: Any) -> Any:
    """1e6 is a number of steps; 1e6 + 0.5 is not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
