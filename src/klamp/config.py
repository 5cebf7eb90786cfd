"""Every setting a person can choose: frozen dataclasses, checked when made, light to import.

What all algorithms share is in ``Settings``; what belongs to one update alone is in the class of
that algorithm, in ``algorithm_configs``. The docstring under each field is also its help on the
command line. Nothing here imports JAX, so that ``klamp --help`` answers at once.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from klamp import choices
from klamp.algorithm_configs import (
    A2C,
    ALGORITHMS,
    NPG,
    PPO,
    REINFORCE,
    TRPO,
    AlgorithmConfig,
    PPOPenalty,
    algorithm_name,
    final_values,
)
from klamp.checks import check, is_integer, is_number, require
from klamp.errors import ConfigError, closest, printable, shown

__all__ = [
    "A2C",
    "ALGORITHMS",
    "NPG",
    "PPO",
    "REINFORCE",
    "TRPO",
    "AlgorithmConfig",
    "PPOPenalty",
    "RunConfig",
    "Settings",
    "algorithm_name",
]

NAME_LIMIT = 300
"""Letters that the name of an environment, or of a function that builds networks, may have."""


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
    """Seconds that an environment of vectorization async may take for a step, before it is killed
    and its episode played again in a new process."""

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


def _is_name(value: Any) -> bool:
    """Whether something may be the name of an environment or of a function."""
    return isinstance(value, str) and 0 < len(value) <= NAME_LIMIT and value.isprintable()


def check_environment_name(env: Any) -> None:
    """Raise ``ConfigError`` where an environment is not given by its name."""
    if not _is_name(env):
        found = printable(" ".join(repr(env).split()), NAME_LIMIT)
        raise ConfigError(
            f"The environment is {found}, but must be a name: a Gymnasium id such as "
            "'CartPole-v1', or 'module:id'. Register an environment of your own by "
            "`gymnasium.register(id=…, entry_point=…)`, so that each copy is made anew, and give "
            "its id."
        )


def check_algorithm(algorithm: Any) -> None:
    """Raise ``ConfigError`` where an algorithm is not the config of one."""
    if type(algorithm) not in ALGORITHMS.values():
        raise ConfigError(
            f"The algorithm is {' '.join(repr(algorithm).split())}, but must be a config such as "
            f"`klamp.TRPO(max_kl=0.01)`, or one of the names {', '.join(ALGORITHMS)}."
        )


def check_sizes(algorithm: AlgorithmConfig, settings: Settings) -> None:
    """Raise ``ConfigError`` where steps, rollout and minibatches do not fit together."""
    batch = settings.batch
    total = f"num_envs × rollout_length = {settings.num_envs} × {settings.rollout_length} = {batch}"
    one_rollout = f"at least one rollout, {total}; or lower one of these"
    require(settings.steps >= batch, settings, "steps", one_rollout)
    scheduled = settings.schedule_steps is None or final_values(algorithm)
    require(bool(scheduled), settings, "schedule_steps", "unset where nothing has a final value")
    normalization = settings.advantage_normalization
    alone = "'off' where a batch has one step: one sample cannot be standardised"
    require(batch > 1 or normalization == "off", settings, "advantage_normalization", alone)
    fits_critic = isinstance(algorithm, REINFORCE | NPG | TRPO)
    parts = [(algorithm, "minibatch_size")] if isinstance(algorithm, PPO | PPOPenalty) else []
    for part, name in [*parts, *([(settings, "critic_minibatch_size")] if fits_critic else [])]:
        size, usual = getattr(part, name), type(part).__dataclass_fields__[name].default
        # A batch below the size that nobody chose is taken whole.
        require(size <= batch or size == usual, part, name, f"at most the batch, {total}")
        shorter = f"at least one sequence of {settings.sequence} steps (`sequence_length`)"
        require(size >= settings.sequence, part, name, shorter)
    if normalization == "minibatch" and parts and settings.sequence == 1:
        size = min(getattr(algorithm, "minibatch_size"), batch)  # noqa: B009 - of two types
        more = "with `advantage_normalization` 'minibatch', for one sample cannot be standardised"
        require(size > 1, algorithm, "minibatch_size", f"at least 2 {more}")
        left = f"a size that leaves no single sample over ({total}) {more}"
        require(batch % size != 1, algorithm, "minibatch_size", left)


def _integral(value: Any) -> Any:
    """1e6 is a number of steps; 1e6 + 0.5 is not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to build a run again; what `config.json` holds."""

    env: str
    """The environment: a Gymnasium id, or `module:id`."""
    algorithm: AlgorithmConfig
    """The update and its settings."""
    settings: Settings = field(default_factory=Settings)
    """What all algorithms share."""
    network: str | None = None
    """The function that built networks of the user's own, by name; it is needed again to load."""

    def __post_init__(self) -> None:
        """Check what no part can see alone; REINFORCE's settings become those of its baseline."""
        check_environment_name(self.env)
        check_algorithm(self.algorithm)
        if isinstance(self.algorithm, REINFORCE):
            estimated = replace(self.settings, **self.algorithm.estimates)
            object.__setattr__(self, "settings", estimated)
        check_sizes(self.algorithm, self.settings)

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object: `env`, `algo`, then every setting under its own name."""
        flat: dict[str, Any] = {"env": self.env, "algo": algorithm_name(self.algorithm)}
        for part in (self.settings, self.algorithm):
            flat |= {item.name: getattr(part, item.name) for item in fields(part)}
        flat["hidden_sizes"] = list(self.settings.hidden_sizes)
        return flat if self.network is None else flat | {"network": self.network}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RunConfig":
        """The inverse of ``to_dict``; every key must be known and every value valid."""
        rest = dict(data)
        env, name = rest.pop("env", None), rest.pop("algo", None)
        for other in ("klamp_version", "signature"):
            rest.pop(other, None)
        network = rest.pop("network", None)
        if not isinstance(env, str) or not isinstance(name, str) or name not in ALGORITHMS:
            raise ConfigError(
                f"The configuration names the environment {shown(env)} and the algorithm "
                f"{shown(name)}; expected a string and one of {', '.join(ALGORITHMS)}."
            )
        if network is not None and not _is_name(network):
            raise ConfigError(f"`network` of the configuration is {shown(network)}, no name.")
        kind = ALGORITHMS[name]
        own = {item.name for item in fields(kind)}
        shared = {item.name for item in fields(Settings)}
        unknown = sorted(set(rest) - own - shared)
        if unknown:
            first = ", ".join(shown(name).strip("'") for name in unknown[:5])
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise ConfigError(
                f"The configuration has unknown settings: {first}{more}."
                f"{closest(unknown[0], own | shared)} Expected those of Settings and "
                f"{kind.__name__}."
            )
        return cls(
            env=env,
            algorithm=kind(**{key: rest[key] for key in own & set(rest)}),
            settings=Settings(**{key: rest[key] for key in shared & set(rest)}),
            network=network,
        )
