"""The settings of language-model runs: frozen dataclasses in groups, checked when made.

What they share with other runs (steps, seed, checkpoints, the fit of the critic) is the same groups
as theirs. Nothing here imports JAX, so that ``klamp lm train --help`` answers at once.
"""

from dataclasses import dataclass
from typing import Any, Literal

from klamp.config.settings import (
    CheckpointSettings,
    CriticSettings,
    EvaluationSettings,
    TrainingSettings,
)
from klamp.config.validation import (
    Count,
    NotNegative,
    NotNegativeInt,
    Positive,
    Share,
    check_fields,
    require,
)

Advantage = Literal["gae", "group", "group-mean", "leave-one-out"]


@dataclass(frozen=True)
class GenerationSettings:
    """What is sampled between two updates."""

    prompts: Count = 256
    """Prompts in each batch."""
    generations: Count = 1
    """Completions of each prompt; group advantages compare these, and need at least two."""
    shards: Count = 1
    """Equal groups of the prompts, sampled one by one, each with an equal share of each minibatch.
    A run is the same on one process and on any number that divides this (`klamp launch`), which
    divides prompts."""
    max_prompt_tokens: Count = 512
    """Tokens that a prompt may have. A longer one is refused, never cut."""
    max_new_tokens: Count = 64
    """Tokens that the policy may sample for one prompt, in a turn; reaching this is a truncation.
    A built-in task may need fewer."""
    max_turns: Count = 8
    """Turns of a text environment before the episode is cut off."""
    temperature: Positive = 1.0
    """Logits are divided by this, when sampling and in every update: it is part of the policy."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, GenerationSettings)
        whole = f"a divisor of prompts, which is {self.prompts}"
        require(self.prompts % self.shards == 0, self, "shards", whole)


@dataclass(frozen=True)
class TokenAdvantageSettings:
    """What a sampled token is worth."""

    advantage: Advantage = "gae"
    """gae: by a critic, with λ; group: (R − mean)/deviation over the completions of a prompt;
    group-mean: R − mean; leave-one-out: R less the mean of the others. The last three have no
    critic."""
    aggregation: Literal["token", "sequence", "constant"] = "token"
    """The mean over action tokens; over completions of each one's mean; or over completions of
    each one's sum by a fixed length. A scale of Â, which no KL or entropy sees."""
    discount: Share = 1.0
    """γ, the weight of a reward one token later; 0 to 1."""
    trace_decay: Share = 0.95
    """λ of generalised advantage estimation: 0 trusts the critic, 1 the sampled returns."""
    advantage_normalization: Literal["batch", "minibatch", "off"] = "batch"
    """Standardise the advantages of gae over the batch or each minibatch; those of groups are
    taken as they are."""
    truncation: Literal["bootstrap", "mask", "end"] = "bootstrap"
    """What a length limit means: V of what is there stands for the rest (with groups: as end);
    the completion is not learnt from; or it is an end like any other."""
    redraw_groups: NotNegativeInt = 0
    """Further draws of prompts in an update, at most, to replace groups whose completions all
    earned the same: dynamic sampling of DAPO (arXiv:2503.14476, §3.2). 0: none."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, TokenAdvantageSettings)


@dataclass(frozen=True)
class ReferenceSettings:
    """How the policy is held to the model that it began as."""

    reference_coefficient: NotNegative = 0.0
    """β, the price of a nat of KL(policy‖reference) for each token, exact over the vocabulary;
    where it adapts, the first one. 0: none."""
    reference_kl: Literal["reward", "loss"] = "reward"
    """Whether it is taken off each token's reward, or added to the loss with its true gradient."""
    reference_target: Positive | None = None
    """Nats a token that β adapts to: it grows by a tenth after an update above, and shrinks by one
    below; unset: β is fixed."""

    def __post_init__(self) -> None:
        """Check every field, and that an adaptive coefficient can move."""
        check_fields(self, ReferenceSettings)
        movable = self.reference_target is None or self.reference_coefficient > 0
        expected = "a number > 0 where it adapts to a reference_target (0 stays 0)"
        require(movable, self, "reference_coefficient", expected)


@dataclass(frozen=True)
class LanguageModelSettings:
    """The model of a built-in task, what is trained of it, and its critic."""

    supervised_steps: NotNegativeInt | None = None
    """Gradient steps on demonstrations that a built-in task's model begins with; unset: as many as
    the task has; 0: none."""
    adapter_rank: NotNegativeInt = 0
    """Rank of the adapters (LoRA) that alone are trained; 0: all parameters are."""
    value_hidden: Count = 64
    """Width of the critic's hidden layer, which reads the features of the policy that collected."""
    critic_warmup: NotNegativeInt = 2
    """Updates at the start that fit the critic alone."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, LanguageModelSettings)


GROUPS: dict[str, type[Any]] = {
    "training": TrainingSettings,
    "generation": GenerationSettings,
    "advantages": TokenAdvantageSettings,
    "reference": ReferenceSettings,
    "model": LanguageModelSettings,
    "critic": CriticSettings,
    "checkpoints": CheckpointSettings,
    "evaluation": EvaluationSettings,
}
"""The groups by the headings that they have in `klamp lm train --help`."""


# The fields of a dataclass come from its last base first.
@dataclass(frozen=True)
class Settings(
    EvaluationSettings,
    CheckpointSettings,
    CriticSettings,
    LanguageModelSettings,
    ReferenceSettings,
    TokenAdvantageSettings,
    GenerationSettings,
    TrainingSettings,
):
    """What all algorithms share of a language-model run. A step is a sampled token."""

    def __post_init__(self) -> None:
        """Check each group, and what concerns two of them."""
        for group in GROUPS.values():
            group.__post_init__(self)
        enough = self.advantage == "gae" or self.generations > 1
        several = f"at least 2 with the advantage {self.advantage!r}, which compares completions"
        require(enough, self, "generations", several)
        compared = self.advantage == "gae" or self.advantage_normalization != "minibatch"
        expected = f"'batch' or 'off' with the advantage {self.advantage!r}"
        require(compared, self, "advantage_normalization", expected)
        drawn = not self.redraw_groups or self.advantage != "gae"
        require(drawn, self, "redraw_groups", "0 with the advantage gae, which has no groups")
        require(not self.video_every, self, "video_every", "0: text cannot be filmed")

    @property
    def completions(self) -> int:
        """S, the sequences of a batch."""
        return self.prompts * self.generations

    @property
    def sequence(self) -> int:
        """Rows of a batch that belong together: a row is a sequence already."""
        return 1

    @property
    def critic(self) -> bool:
        """Whether there is one."""
        return self.advantage == "gae"

    def progress(self, step: int) -> float:
        """How far what is scheduled has come after so many steps, from 0 to 1."""
        return min(step / (self.schedule_steps or self.steps), 1.0)
