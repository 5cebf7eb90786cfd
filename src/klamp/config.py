"""Every setting a person can choose: frozen dataclasses, checked when made, light to import.

What all algorithms share is in ``Settings``; what belongs to one update alone is in the class of
that algorithm. The docstring under each field is also its help on the command line. Nothing here
imports JAX, so that ``klamp --help`` answers at once.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from klamp.errors import ConfigError

Activation = Literal["tanh", "relu", "gelu", "silu", "elu"]
Vectorization = Literal["auto", "sync", "async"]
AdvantageNormalization = Literal["batch", "minibatch", "off"]
AdvantageEstimator = Literal["gae", "monte-carlo", "return", "standardized-return"]
ValueTarget = Literal["td-lambda", "monte-carlo"]
Baseline = Literal["none", "batch-mean", "value"]


def require(condition: bool, config: Any, name: str, expected: str) -> None:
    """Raise a ``ConfigError`` that names the field, its value and what was expected."""
    if not condition:
        value = getattr(config, name)
        option = "--" + name.replace("_", "-")
        raise ConfigError(
            f"`{name}` of {type(config).__name__} is {value!r}, but must be {expected}. "
            f"Set it with `{name}=…` in Python or `{option} …` on the command line."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def check(
    config: Any,
    *,
    positive: tuple[str, ...] = (),
    not_negative: tuple[str, ...] = (),
    shares: tuple[str, ...] = (),
    counts: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    choices: dict[str, tuple[str, ...]] | None = None,
) -> None:
    """Check a config's fields by kind; those in ``optional`` may also be None."""

    def given(name: str) -> bool:
        return not (name in optional and getattr(config, name) is None)

    for name in filter(given, positive):
        value = getattr(config, name)
        require(_is_number(value) and value > 0, config, name, "a finite number > 0")
    for name in filter(given, not_negative):
        value = getattr(config, name)
        require(_is_number(value) and value >= 0, config, name, "a finite number ≥ 0")
    for name in filter(given, shares):
        value = getattr(config, name)
        require(_is_number(value) and 0 <= value <= 1, config, name, "a number between 0 and 1")
    for name in filter(given, counts):
        require(_is_integer(getattr(config, name), 1), config, name, "an integer ≥ 1")
    for name, allowed in (choices or {}).items():
        listed = ", ".join(repr(choice) for choice in allowed)
        require(getattr(config, name) in allowed, config, name, f"one of {listed}")


@dataclass(frozen=True)
class Settings:
    """What all algorithms share: the budget, the environments, the networks, the critic."""

    steps: int = 100_000
    """Environment steps to train for. The last rollout is completed, so a little more is done."""
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
    """Scale observations by their running mean and deviation. Advised unless they are near 1."""
    normalize_reward: bool = False
    """Scale rewards by the running deviation of the discounted return (reports stay raw)."""
    advantage_estimator: AdvantageEstimator = "gae"
    """gae; monte-carlo: the return less the critic's value; return: the rewards that the rollout
    saw, without a critic; standardized-return: those to mean 0 and deviation 1, less the value."""
    value_target: ValueTarget = "td-lambda"
    """What the critic learns: the λ-return, or the (standardised, if so) Monte-Carlo return."""
    advantage_normalization: AdvantageNormalization = "batch"
    """Standardise advantages over the whole batch, over each minibatch, or not at all."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of the policy and of the critic."""
    activation: Activation = "tanh"
    """Nonlinearity of the hidden layers."""
    initial_log_std: float = 0.0
    """Log of the initial standard deviation of continuous actions, in units of the action."""
    critic_epochs: int = 10
    """Passes over the batch that fit the critic after a natural-gradient step."""
    critic_minibatch_size: int = 64
    """Samples in each step of that fit."""
    critic_learning_rate: float = 1e-3
    """Adam's step size of that fit."""
    checkpoint_interval: int = 50_000
    """Environment steps between two checkpoints; one is always made at the end."""
    vectorization: Vectorization = "auto"
    """auto: the environment's own vector form, else one process; sync: one process; async: one
    process an environment, for environments that take over a millisecond a step."""

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        object.__setattr__(self, "steps", _integral(self.steps))
        check(
            self,
            positive=("critic_learning_rate",),
            shares=("discount", "trace_decay"),
            counts=(
                "steps",
                "num_envs",
                "rollout_length",
                "critic_epochs",
                "critic_minibatch_size",
                "checkpoint_interval",
            ),
            choices={
                "activation": ("tanh", "relu", "gelu", "silu", "elu"),
                "vectorization": ("auto", "sync", "async"),
                "advantage_normalization": ("batch", "minibatch", "off"),
                "advantage_estimator": ("gae", "monte-carlo", "return", "standardized-return"),
                "value_target": ("td-lambda", "monte-carlo"),
            },
        )
        scales_agree = (
            self.advantage_estimator != "standardized-return" or self.value_target == "monte-carlo"
        )
        expected = "'monte-carlo' with standardized-return, whose scale the critic must share"
        require(scales_agree, self, "value_target", expected)
        seed_fits = _is_integer(self.seed, 0) and self.seed < 2**63
        require(seed_fits, self, "seed", "an integer from 0 to 2**63 − 1")
        require(_is_number(self.initial_log_std), self, "initial_log_std", "a finite number")
        sizes = all(_is_integer(size, 1) for size in self.hidden_sizes)
        require(sizes, self, "hidden_sizes", "a sequence of integers ≥ 1")
        require(self.num_envs <= 2**20, self, "num_envs", "at most 1,048,576")


def _integral(value: Any) -> Any:
    """1e6 is a number of steps; 1e6 + 0.5 is not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class REINFORCE:
    """The policy gradient with Monte-Carlo returns: ∇ log π·R (Williams 1992)."""

    baseline: Baseline = "value"
    """What the return is compared with: nothing, its mean over the batch, or a learned V."""
    learning_rate: float = 1e-2
    """Adam's step size; one step a batch."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    max_gradient_norm: float = 0.5
    """The gradient is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("learning_rate", "max_gradient_norm"),
            not_negative=("entropy_coefficient",),
            choices={"baseline": ("none", "batch-mean", "value")},
        )


@dataclass(frozen=True)
class A2C:
    """Advantage actor-critic: one joint gradient step a batch (arXiv:1602.01783)."""

    learning_rate: float = 1e-3
    """Adam's step size; one step a batch."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    value_coefficient: float = 0.5
    """Weight of the value loss E[(V − target)²] beside the policy's objective."""
    max_gradient_norm: float = 0.5
    """The gradient over all parameters together is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("learning_rate", "max_gradient_norm"),
            not_negative=("final_learning_rate", "entropy_coefficient", "value_coefficient"),
            optional=("final_learning_rate",),
        )


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation with the clipped surrogate (arXiv:1707.06347)."""

    clip: float = 0.2
    """ε: no incentive to move the probability ratio beyond 1 ± ε."""
    final_clip: float | None = None
    """ε at the last step, reached linearly; unset: constant."""
    clip_upper: float | None = None
    """ε above 1, where it shall differ from the one below: clip-higher of arXiv:2503.14476."""
    dual_clip: float | None = None
    """c > 1: no sample with Â < 0 counts for less than c·Â (arXiv:1912.09729)."""
    value_clip: float | None = None
    """The critic gains nothing by moving farther than this from its value before the update."""
    epochs: int = 10
    """Passes over each batch."""
    minibatch_size: int = 64
    """Samples in each gradient step."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    adaptive_learning_rate: float | None = None
    """Instead of a schedule: divide the step size by 1.5 after an update whose exact mean
    KL(old‖new) was above twice this, multiply it after one below half; within 1e-5 to 1e-2."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    value_coefficient: float = 0.5
    """Weight of the value loss E[(V − target)²] beside the surrogate."""
    max_gradient_norm: float = 0.5
    """The gradient over all parameters together is scaled down to this norm."""
    target_kl: float | None = None
    """Stop the epochs once the exact mean KL(old‖new) of the batch exceeds this, in nats."""
    max_kl: float | None = None
    """Draw the update back until the exact mean KL(old‖new) is at most this, in nats."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=(
                "clip",
                "clip_upper",
                "dual_clip",
                "value_clip",
                "learning_rate",
                "adaptive_learning_rate",
                "max_gradient_norm",
                "target_kl",
                "max_kl",
            ),
            not_negative=(
                "final_clip",
                "final_learning_rate",
                "entropy_coefficient",
                "value_coefficient",
            ),
            counts=("epochs", "minibatch_size"),
            optional=(
                "final_clip",
                "clip_upper",
                "dual_clip",
                "value_clip",
                "final_learning_rate",
                "adaptive_learning_rate",
                "target_kl",
                "max_kl",
            ),
        )
        require(self.dual_clip is None or self.dual_clip > 1, self, "dual_clip", "a number > 1")
        one_rule = self.adaptive_learning_rate is None or self.final_learning_rate is None
        require(one_rule, self, "final_learning_rate", "unset with an adaptive_learning_rate")


@dataclass(frozen=True)
class PPOPenalty:
    """Proximal policy optimisation with a KL penalty (arXiv:1707.06347, §4)."""

    kl_coefficient: float = 1.0
    """β, the price of a nat of KL(old‖new); where it adapts, the first one."""
    target_kl: float | None = 0.01
    """β doubles after an update whose exact mean KL(old‖new) was above 1.5 times this, and halves
    after one below it by 1.5; unset: β is fixed."""
    epochs: int = 10
    """Passes over each batch."""
    minibatch_size: int = 64
    """Samples in each gradient step."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    value_coefficient: float = 0.5
    """Weight of the value loss E[(V − target)²] beside the surrogate."""
    max_gradient_norm: float = 0.5
    """The gradient over all parameters together is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("learning_rate", "max_gradient_norm", "target_kl"),
            not_negative=(
                "kl_coefficient",
                "final_learning_rate",
                "entropy_coefficient",
                "value_coefficient",
            ),
            counts=("epochs", "minibatch_size"),
            optional=("final_learning_rate", "target_kl"),
        )
        movable = self.target_kl is None or self.kl_coefficient > 0
        require(movable, self, "kl_coefficient", "a number > 0 where it adapts (0 stays 0)")


@dataclass(frozen=True)
class NPG:
    """The natural policy gradient (Kakade 2001), with the step length of TRPO and no search."""

    max_kl: float = 0.01
    """δ: the mean KL(old‖new) that the quadratic model predicts of a step; nothing checks it."""
    damping: float = 0.1
    """λ, added to the diagonal of the Fisher matrix."""
    cg_iterations: int = 10
    """Steps of conjugate gradient; each costs one Fisher-vector product."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, positive=("max_kl",), not_negative=("damping",), counts=("cg_iterations",))


@dataclass(frozen=True)
class TRPO:
    """Trust-region policy optimisation (arXiv:1502.05477)."""

    max_kl: float = 0.01
    """δ: bound on the mean over states of KL(old‖new), in nats, summed over action dimensions."""
    damping: float = 0.1
    """λ, added to the diagonal of the Fisher matrix."""
    cg_iterations: int = 10
    """Steps of conjugate gradient; each costs one Fisher-vector product."""
    backtrack_ratio: float = 0.8
    """Factor by which the line search shortens the step."""
    max_backtracks: int = 10
    """Reductions of the step before the update is refused."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("max_kl", "backtrack_ratio"),
            not_negative=("damping",),
            counts=("cg_iterations",),
        )
        require(self.backtrack_ratio < 1, self, "backtrack_ratio", "a number between 0 and 1")
        require(_is_integer(self.max_backtracks, 0), self, "max_backtracks", "an integer ≥ 0")


AlgorithmConfig = REINFORCE | A2C | NPG | TRPO | PPO | PPOPenalty

ALGORITHMS: dict[str, type[Any]] = {
    "reinforce": REINFORCE,
    "a2c": A2C,
    "npg": NPG,
    "trpo": TRPO,
    "ppo": PPO,
    "ppo-kl": PPOPenalty,
}
"""The algorithms by the name that `--algo` and `config.json` use."""


def algorithm_name(algorithm: AlgorithmConfig) -> str:
    """The name of an algorithm's config, as `--algo` takes it."""
    return next(name for name, kind in ALGORITHMS.items() if type(algorithm) is kind)


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to build a run again; what `config.json` holds."""

    env: str
    """The environment: a Gymnasium id, or `module:id`."""
    algorithm: AlgorithmConfig
    """The update and its settings."""
    settings: Settings = field(default_factory=Settings)
    """What all algorithms share."""

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object: `env`, `algo`, then every setting under its own name."""
        flat: dict[str, Any] = {"env": self.env, "algo": algorithm_name(self.algorithm)}
        for part in (self.settings, self.algorithm):
            flat |= {item.name: getattr(part, item.name) for item in fields(part)}
        flat["hidden_sizes"] = list(self.settings.hidden_sizes)
        return flat

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RunConfig":
        """The inverse of ``to_dict``; every key must be known and every value valid."""
        rest = dict(data)
        env, name = rest.pop("env", None), rest.pop("algo", None)
        rest.pop("klamp_version", None)
        if not isinstance(env, str) or name not in ALGORITHMS:
            raise ConfigError(
                f"The configuration names the environment {env!r} and the algorithm {name!r}; "
                f"expected a string and one of {', '.join(ALGORITHMS)}."
            )
        kind = ALGORITHMS[name]
        own = {item.name for item in fields(kind)}
        shared = {item.name for item in fields(Settings)}
        unknown = sorted(set(rest) - own - shared)
        if unknown:
            raise ConfigError(f"The configuration has unknown settings: {', '.join(unknown)}.")
        return cls(
            env=env,
            algorithm=kind(**{key: rest[key] for key in own & set(rest)}),
            settings=Settings(**{key: rest[key] for key in shared & set(rest)}),
        )
