"""The settings of a run: frozen dataclasses, checked when made, light to import.

The settings that all algorithms share are in groups, each a dataclass with its own fields and
checks; ``Settings`` inherits from all of them, so that its fields are flat. Settings of one
algorithm are in its own class, in ``config.algorithms``. The type of a field says what its values
may be (``validation``), and the docstring under it is also its help on the command line. Nothing
here imports JAX, so that ``klamp --help`` answers at once.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from klamp.config import choices
from klamp.config.dialects import answering_dialects
from klamp.config.validation import (
    Allowed,
    Count,
    Finite,
    NotNegative,
    NotNegativeInt,
    Positive,
    Share,
    check_fields,
    is_integer,
    is_number,
    require,
)

BOOKKEEPING = ("klamp_version", "signature")
"""Keys of `config.json` about its writer."""

BESIDE_SETTINGS = (
    "env",
    "algo",
    "network",
    "env_kwargs",
    "wrappers",
    "start_from",
    "start_from_sha256",
    *BOOKKEEPING,
)
"""Keys of `config.json` that are no settings; no setting may have the name of one."""

Seed = Annotated[
    int,
    Allowed("an integer from 0 to 2**63 − 1", lambda value: is_integer(value, 0) and value < 2**63),
]
ShareBelowOne = Annotated[
    float, Allowed("a number from 0 to below 1", lambda value: is_number(value) and 0 <= value < 1)
]
Sizes = Annotated[
    tuple[int, ...],
    Allowed(
        "a sequence of integers ≥ 1, such as (64, 64)",
        lambda value: isinstance(value, tuple) and all(is_integer(size, 1) for size in value),
    ),
]


@dataclass(frozen=True)
class TrainingSettings:
    """How long the run is, and where its random numbers come from."""

    steps: Count = 100_000
    """Environment steps to train for. The last rollout is completed, so slightly more are made."""
    schedule_steps: Count | None = None
    """Steps over which settings with a final value (final_learning_rate, final_clip) reach it; they
    keep it afterwards. Unset: all steps of the run."""
    seed: Seed = 0
    """Every random number of the run derives from it; 0 to 2⁶³ − 1."""

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "steps", _integral(self.steps))
        check_fields(self, TrainingSettings)

    def progress(self, step: int) -> float:
        """The progress of schedules after so many steps, from 0 to 1."""
        return min(step / (self.schedule_steps or self.steps), 1.0)


@dataclass(frozen=True)
class CollectionSettings:
    """How the environments are stepped, and the scale of what they return."""

    num_envs: Count = 8
    """Environments that are stepped together."""
    rollout_length: Count = 256
    """Steps of each environment between two updates; the batch is this times num_envs."""
    shards: Count = 1
    """Equal groups of the environments, each with random numbers of its own and an equal share of
    each minibatch. A run is the same on one process and on any number that divides this (`klamp
    launch`), which divides num_envs."""
    vectorization: choices.Vectorization = "auto"
    """auto: the environment's own vector form for more than two, else one process; sync: one
    process; async: one process per environment, for environments that take over a millisecond per
    step. A script that asks for async must train under `if __name__ == "__main__":`."""
    step_limit_s: Positive = 60.0
    """Seconds that an environment may take for a step: in the start-up check, which ends the run;
    with vectorization async always: the environment is then replaced, and its episode replayed."""
    normalize_observation: bool = False
    """Scale observations by their running mean and deviation. Advised unless they are near 1.
    Images and other bytes are always divided by 255 instead."""
    normalize_reward: bool = False
    """Scale rewards by the running deviation of the discounted return (reports stay raw)."""

    def __post_init__(self) -> None:
        """Check every field, and that a rollout can be held."""
        check_fields(self, CollectionSettings)
        least = ""
        if 2**31 <= self.batch < 10**30:
            # Two observations of one number, an action, reward, weight and two flags.
            least = (
                f"; one rollout of {self.batch:,} steps takes over {self.batch * 22 // 10**9:,} GB"
            )
        require(self.num_envs <= 2**20, self, "num_envs", f"at most 1,048,576{least}")
        whole = f"a divisor of num_envs, which is {self.num_envs}"
        require(self.num_envs % self.shards == 0, self, "shards", whole)
        fits = self.batch < 2**31
        require(fits, self, "rollout_length", f"below 2³¹ over the number of environments{least}")

    @property
    def batch(self) -> int:
        """Steps of all environments between two updates."""
        return self.num_envs * self.rollout_length


@dataclass(frozen=True)
class AdvantageSettings:
    """Advantages, and the targets of the critic."""

    discount: Share = 0.99
    """γ, the weight of a reward one step later; 0 to 1."""
    trace_decay: Share = 0.95
    """λ of generalised advantage estimation: 0 trusts the critic, 1 the sampled returns."""
    advantage_estimator: choices.AdvantageEstimator = "gae"
    """gae; monte-carlo: the return minus the critic's value; return: the return up to the rollout's
    end, without a critic; standardized-return: that return at mean 0 and deviation 1, minus the
    value. With REINFORCE, its baseline decides."""
    value_target: choices.ValueTarget = "td-lambda"
    """The critic's target: the λ-return, or the Monte-Carlo return, standardised where the
    advantage is."""
    advantage_normalization: choices.AdvantageNormalization = "batch"
    """Standardise advantages over the whole batch, over each minibatch (A2C and REINFORCE have
    one, NPG and TRPO none), or not at all."""

    def __post_init__(self) -> None:
        """Check every field, and that the critic learns the scale it is compared with."""
        check_fields(self, AdvantageSettings)
        scales_agree = (
            self.advantage_estimator != "standardized-return" or self.value_target == "monte-carlo"
        )
        expected = "'monte-carlo' with standardized-return, whose scale the critic must share"
        require(scales_agree, self, "value_target", expected)


@dataclass(frozen=True)
class NetworkSettings:
    """The layers of policy and critic, and the distribution of actions."""

    hidden_sizes: Sizes = (64, 64)
    """Widths of the hidden layers of the policy and of the critic; images get convolutions."""
    activation: choices.Activation = "tanh"
    """Nonlinearity of the hidden layers."""
    shared_network: bool = False
    """Policy and critic share the hidden layers, instead of each having its own."""
    recurrent_size: NotNegativeInt = 0
    """Width of a gated recurrent unit that policy and critic share; 0: none."""
    sequence_length: Count = 32
    """Steps that the gradient of a recurrent network reaches back; divides rollout_length."""
    dropout: ShareBelowOne = 0.0
    """Share of the policy's hidden units that dropout removes, by one mask per transition, the same
    in collection and in every part of the update; 0: none. Evaluation has no dropout."""
    initial_log_std: Finite = 0.0
    """Log of the initial standard deviation of continuous actions, in units of the action."""
    action_scale: choices.ActionScale = "learned"
    """Standard deviation of continuous actions: learned, the same in every state; state, learned
    as a function of the state; scheduled: action_std, minus action_std_decay per step."""
    action_std: Positive = 0.6
    """The scheduled standard deviation at the first step."""
    action_std_decay: NotNegative = 2e-7
    """The decrease of a scheduled standard deviation per environment step."""
    action_std_minimum: Positive = 0.1
    """The least scheduled standard deviation."""
    mean_activation: choices.MeanActivation = "none"
    """tanh keeps the mean of a Gaussian within ±1, in units of the action (its samples may lie
    beyond); none leaves it as it is."""
    action_bounds: choices.ActionBounds = "clip"
    """How continuous actions keep to their bounds: clip, a Gaussian whose samples are clipped
    before the environment's step; tanh, a Gaussian squashed into them; beta, a Beta distribution
    over them."""

    def __post_init__(self) -> None:
        """Check every field."""
        if isinstance(self.hidden_sizes, list):
            object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        check_fields(self, NetworkSettings)

    @property
    def sequence(self) -> int:
        """Rows of a batch that belong together: a sequence of a recurrent network, else one."""
        return self.sequence_length if self.recurrent_size else 1


@dataclass(frozen=True)
class CriticSettings:
    """The critic's own fit, after the step of the policy."""

    critic_epochs: Count = 10
    """Passes over the batch that fit the critic after the step of TRPO, NPG and REINFORCE with V;
    the other algorithms learn it together with the policy."""
    critic_minibatch_size: Count = 64
    """Samples in each step of that fit; where the batch is below the default, all of it."""
    critic_learning_rate: Positive = 1e-3
    """Adam's step size of that fit."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, CriticSettings)


@dataclass(frozen=True)
class CheckpointSettings:
    """When a run is saved, and which checkpoints are kept."""

    checkpoint_interval: Count = 50_000
    """Environment steps between two checkpoints; one is always made at the end."""
    keep_checkpoint_every: NotNegativeInt = 10
    """One of every so many checkpoints is kept for good, besides the last three and the best; 0:
    none."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, CheckpointSettings)


@dataclass(frozen=True)
class EvaluationSettings:
    """Evaluation while the run trains, and what ends it early."""

    eval_interval: Count | None = None
    """Environment steps between two evaluations of the policy while it trains: whole episodes with
    the most probable actions, in environments of their own. Unset: none."""
    eval_episodes: Count = 10
    """Episodes of each evaluation; they begin from the same seeds every time."""
    video_every: NotNegativeInt = 0
    """After every so many evaluations an episode is filmed, into the folder `videos` of the run's
    (.mp4); 0: none."""
    stop_at_return: Finite | None = None
    """End the run when the mean return of an evaluation reaches this; without eval_interval, that
    of the last 100 training episodes. Unset: train for all steps."""
    stop_on_plateau: Count | None = None
    """End the run when so many evaluations in a row have not had a mean return above the highest of
    all before them; without eval_interval, so many updates, by the mean return of the last 100
    training episodes, counted from the first update with 100 finished episodes. Unset: train for
    all steps."""

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "eval_interval", _integral(self.eval_interval))
        check_fields(self, EvaluationSettings)


GROUPS: dict[str, type[Any]] = {
    "training": TrainingSettings,
    "collection": CollectionSettings,
    "advantages": AdvantageSettings,
    "networks": NetworkSettings,
    "critic": CriticSettings,
    "checkpoints": CheckpointSettings,
    "evaluation": EvaluationSettings,
}
"""The groups by the headings that they have in `klamp train --help`."""


# The fields of a dataclass come from its last base first.
@answering_dialects
@dataclass(frozen=True)
class Settings(
    EvaluationSettings,
    CheckpointSettings,
    CriticSettings,
    NetworkSettings,
    AdvantageSettings,
    CollectionSettings,
    TrainingSettings,
):
    """The settings that all algorithms share: the fields of every group."""

    def __post_init__(self) -> None:
        """Check each group, and what concerns two of them."""
        for group in GROUPS.values():
            group.__post_init__(self)
        whole = f"a divisor of the rollout_length, {self.rollout_length}"
        require(self.rollout_length % self.sequence == 0, self, "sequence_length", whole)


def _integral(value: Any) -> Any:
    """1e6 as the integer that it is; other values unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
