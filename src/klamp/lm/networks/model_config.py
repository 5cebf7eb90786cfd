"""The form of a decoder: read from the `config.json` of a model's folder, and written.

Read is whatever transformers' code for these families reads, with the values that it takes where a
name is missing; of that, what the decoder does not do is refused by its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from klamp.errors import ConfigError, one_line, shown
from klamp.runs.bounded_read import Unreadable


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's rescaling of rotary frequencies, for contexts longer than those trained first.

    Wavelengths above ``original_context / low_frequency_factor`` are multiplied by ``factor``,
    those below ``original_context / high_frequency_factor`` are kept, and between them it goes
    over linearly (arXiv:2407.21783; transformers, ``modeling_rope_utils``).
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context: int


@dataclass(frozen=True)
class DecoderConfig:
    """The form of a decoder. Sizes are numbers of entries; ``context`` counts tokens."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    """A divisor of ``heads``: so many query heads share one key and value head."""
    head_width: int
    """Even. Queries have ``heads · head_width`` numbers, whatever ``width`` is."""
    mlp_width: int
    context: int = 2048
    """The longest sequence, prompt and completion together, that the model was made for."""
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_epsilon: float = 1e-6
    tied_head: bool = False
    """Whether the embedding is the head as well."""
    attention_bias: bool = False
    """Whether queries, keys and values have a bias."""
    output_bias: bool = False
    """Whether the attention's output has a bias."""
    mlp_bias: bool = False
    query_key_norm: bool = False
    """Whether each query and each key is normalised, as in Qwen3."""
    sliding_window: int | None = None
    """A token attends to so many last tokens, itself included; None for all."""
    family: str = "llama"
    """The `model_type` by which other software knows such models."""


ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""The families, by their `model_type`."""

LARGEST = 2**40
"""Weights of a decoder; a configuration that says more is damaged."""

_FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "quantization_config": (None,),
    "pretraining_tp": (None, 1),
    "partial_rotary_factor": (None, 1.0),
}
"""What the decoder does in one way only: names, and the values that say so."""

_LLAMA3 = {
    "factor": "factor",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
}
_ORIGINAL = "original_max_position_embeddings"
_REPLACED = ("rope_parameters", "layer_types", "dtype")
"""Names of newer files whose content is written by the older names, which all software reads."""


def config_of(form: Mapping[str, Any]) -> DecoderConfig:
    """The decoder that a `config.json` describes. Raises ``Unreadable``."""
    family = form.get("model_type")
    if not isinstance(family, str) or family not in ARCHITECTURES:
        raise _refused("model_type", family, f"expected one of {', '.join(ARCHITECTURES)}")
    for name, values in _FIXED.items():
        if form.get(name, values[0]) not in values:
            raise _refused(name, form[name], f"expected {values[-1]}")
    heads, width = _integer(form, "num_attention_heads"), _integer(form, "hidden_size")
    key_value_heads = _integer(form, "num_key_value_heads", heads if family == "llama" else None)
    head_width = _integer(form, "head_dim", None if family == "qwen3" else width // heads)
    if heads % key_value_heads:
        raise _refused("num_key_value_heads", key_value_heads, f"expected a divisor of {heads}")
    if head_width % 2:
        raise _refused("head_dim", head_width, "expected an even number")
    bias = family in ("llama", "qwen3") and _flag(form, "attention_bias")
    layers = _integer(form, "num_hidden_layers", most=1_000)
    theta, scaling = _rope(form)
    vocabulary, mlp_width = _integer(form, "vocab_size"), _integer(form, "intermediate_size")
    weights = width * (vocabulary + layers * (2 * heads * head_width + 3 * mlp_width))
    if weights > LARGEST:
        raise Unreadable(f"its config.json describes a decoder of {weights:,} weights")
    return DecoderConfig(
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        heads=heads,
        key_value_heads=key_value_heads,
        head_width=head_width,
        mlp_width=mlp_width,
        context=_integer(form, "max_position_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_epsilon=_number(form, "rms_norm_eps", 1e-6),
        tied_head=_flag(form, "tie_word_embeddings"),
        attention_bias=bias or family == "qwen2",
        output_bias=bias,
        mlp_bias=family == "llama" and _flag(form, "mlp_bias"),
        query_key_norm=family == "qwen3",
        sliding_window=_window(form, family, layers),
        family=family,
    )


def form_of(config: DecoderConfig, form: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` for a decoder, with what an older ``form`` says beyond it.

    Raises ``ConfigError`` where the decoder's family has no such models.
    """
    scaling, window = config.rope_scaling, config.sliding_window
    told = {
        "architectures": [ARCHITECTURES.get(config.family)],
        "model_type": config.family,
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.mlp_width,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_scaling": None
        if scaling is None
        else {"rope_type": "llama3", _ORIGINAL: scaling.original_context}
        | {name: getattr(scaling, ours) for name, ours in _LLAMA3.items()},
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": "silu",
        "tie_word_embeddings": config.tied_head,
        "attention_bias": config.attention_bias and config.family != "qwen2",
        "mlp_bias": config.mlp_bias,
        "sliding_window": window,
        "use_sliding_window": window is not None,
        "max_window_layers": config.layers if window is None else 0,
    }
    written = {name: value for name, value in form.items() if name not in _REPLACED} | told
    try:
        expressed = config_of(written)
    except Unreadable as error:
        raise ConfigError(f"This decoder cannot be saved: {one_line(error)}") from error
    if expressed != config:
        raise ConfigError(
            f"This decoder cannot be saved: no model of the family {config.family} has this form, "
            f"{shown(config, 1000)}; the nearest is {shown(expressed, 1000)}. Give the "
            "`DecoderConfig` a `family` that has it."
        )
    return written


def _rope(form: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """The base of the rotary frequencies, and their scaling, by old names or new."""
    told: Any = form.get("rope_parameters") or form.get("rope_scaling") or {}
    if not isinstance(told, dict):
        raise _refused("rope_scaling", told, "expected an object")
    rope: dict[str, Any] = {"rope_theta": form.get("rope_theta", 10_000.0), **told}
    theta, kind = _number(rope, "rope_theta", 10_000.0), rope.get("rope_type", rope.get("type"))
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise _refused("partial_rotary_factor", rope["partial_rotary_factor"], "expected 1")
    match kind:
        case None | "default":
            return theta, None
        case "llama3":
            numbers = {ours: _number(rope, name) for name, ours in _LLAMA3.items()}
            if numbers["low_frequency_factor"] >= numbers["high_frequency_factor"]:
                raise _refused("low_freq_factor", rope["low_freq_factor"], "expected the smaller")
            return theta, RopeScaling(**numbers, original_context=_integer(rope, _ORIGINAL))
        case _:
            raise _refused("rope_type", kind, "expected default or llama3")


def _window(form: Mapping[str, Any], family: str, layers: int) -> int | None:
    """How many tokens every layer attends to; None for all."""
    if family == "mistral":
        sliding = form.get("sliding_window", 4096) is not None
    elif family == "llama" or not _flag(form, "use_sliding_window"):
        return None
    else:
        first, kinds = _integer(form, "max_window_layers", 28, least=0), form.get("layer_types")
        sliding = first == 0 if kinds is None else kinds == ["sliding_attention"] * layers
        if not sliding and (
            first < layers if kinds is None else kinds != ["full_attention"] * layers
        ):
            name = "max_window_layers" if kinds is None else "layer_types"
            raise _refused(name, form.get(name), "expected one kind of attention in all layers")
    return _integer(form, "sliding_window", 4096) if sliding else None


def _integer(
    form: Mapping[str, Any],
    name: str,
    default: int | None = None,
    *,
    least: int = 1,
    most: int = 2**31 - 1,
) -> int:
    value = default if form.get(name) is None else form[name]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _refused(name, value, f"expected a whole number from {least} to {most:,}")
    return value


def _number(form: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = form.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise _refused(name, value, "expected a positive number")
    return float(value)


def _flag(form: Mapping[str, Any], name: str) -> bool:
    value = form.get(name, False)
    if not isinstance(value, bool):
        raise _refused(name, value, "expected true or false")
    return value


def _refused(name: str, value: Any, expected: str) -> Unreadable:
    return Unreadable(f"its config.json says {name} {shown(value)}, {expected}")
