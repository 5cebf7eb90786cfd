"""The choices of settings that are one of a few words."""

from typing import Literal

Activation = Literal["tanh", "relu", "gelu", "silu", "elu"]
Vectorization = Literal["auto", "sync", "async"]
AdvantageNormalization = Literal["batch", "minibatch", "off"]
ActionScale = Literal["learned", "state", "scheduled"]
ActionBounds = Literal["clip", "tanh", "beta"]
MeanActivation = Literal["none", "tanh"]
AdvantageEstimator = Literal["gae", "monte-carlo", "return", "standardized-return"]
ValueTarget = Literal["td-lambda", "monte-carlo"]
