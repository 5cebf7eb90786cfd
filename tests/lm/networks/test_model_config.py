"""What a `config.json` says is done, or refused by its name."""

from dataclasses import replace
from typing import Any

import pytest

from klamp.lm.networks.model_config import (
    ARCHITECTURES,
    DecoderConfig,
    RopeScaling,
    config_of,
    form_of,
)
from klamp.runs.bounded_read import Unreadable

CONFIG = DecoderConfig(11, 8, 3, 2, 1, 4, 12)
SCALED = RopeScaling(8.0, 1.0, 4.0, 64)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, rope_scaling=SCALED, attention_bias=True, output_bias=True, mlp_bias=True),
        replace(CONFIG, family="mistral", sliding_window=7),
        replace(CONFIG, family="mistral"),
        replace(CONFIG, family="qwen2", attention_bias=True, sliding_window=5, tied_head=True),
        replace(CONFIG, family="qwen3", query_key_norm=True, rope_theta=1e6, norm_epsilon=1e-5),
    ],
)
def test_what_is_written_is_read(config: DecoderConfig) -> None:
    assert config_of(form_of(config, {"rope_parameters": {"rope_type": "yarn"}})) == config


def test_names_of_newer_and_older_files() -> None:
    form = form_of(replace(CONFIG, rope_scaling=SCALED, rope_theta=5.0), {})
    scaling = form.pop("rope_scaling")
    newer = form | {"rope_parameters": scaling | {"rope_theta": 5.0}, "rope_theta": None}
    older = form | {"rope_scaling": {"type": scaling.pop("rope_type")} | scaling}
    assert config_of(newer) == config_of(older)
    assert config_of(form | {"num_key_value_heads": None}).key_value_heads == 2
    qwen = form_of(replace(CONFIG, family="qwen2", attention_bias=True, sliding_window=5), {})
    layers = qwen | {"max_window_layers": 3, "layer_types": ["sliding_attention"] * 3}
    assert config_of(layers).sliding_window == 5
    assert config_of(qwen | {"use_sliding_window": False}).sliding_window is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model_type": "gemma3"},
            f"model_type 'gemma3', expected one of {', '.join(ARCHITECTURES)}",
        ),
        ({"model_type": ["llama"]}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu', expected silu"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type 'yarn'"),
        ({"rope_scaling": [1]}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor None"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000"),
        ({"hidden_size": 2**31 - 1, "vocab_size": 2**31 - 1}, "a decoder of 4,611,686"),
        ({"hidden_size": True}, "hidden_size True"),
        ({"vocab_size": -1}, "vocab_size -1"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"num_key_value_heads": 3}, "expected a divisor of 2"),
        ({"head_dim": 3}, "head_dim 3, expected an even number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ],
)
def test_what_is_not_done_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        config_of(form_of(CONFIG, {}) | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_window_layers": 1},
        {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
        {"layer_types": 3},
    ],
)
def test_windows_in_some_layers_are_refused(changes: dict[str, Any]) -> None:
    form = form_of(replace(CONFIG, family="qwen3", query_key_norm=True, sliding_window=4), {})
    with pytest.raises(Unreadable, match="one kind of attention in all layers"):
        config_of(form | changes)
