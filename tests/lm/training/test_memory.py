"""What a run will take is reckoned before it is allocated."""

import jax
import pytest
from lm.small_models import tiny_decoder

from klamp.errors import ConfigError
from klamp.lm.config.presets import configure
from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.training.memory import batch_bytes, check_memory, parameters

LARGE = DecoderConfig(150_000, 4096, 36, 32, 8, 128, 12_288)


def test_the_parameters_are_those_of_the_decoder() -> None:
    decoder = tiny_decoder()
    whole = sum(leaf.size for leaf in jax.tree.leaves(decoder))
    scales = decoder.norm.size + decoder.blocks.attention_norm.size + decoder.blocks.mlp_norm.size
    assert parameters(decoder.config) == whole - scales


def test_what_does_not_fit_is_refused_with_what_to_lower() -> None:
    check_memory(configure("sort", "ppo", {}), tiny_decoder().config, 13, 6)
    with pytest.raises(ConfigError, match=r"all 8,1.* parameters takes at least .*adapter_rank=16"):
        check_memory(configure("sort", "ppo", {}), LARGE, 13, 6)
    many = configure("sort", "ppo", {"prompts": 10**6, "adapter_rank": 4})
    with pytest.raises(ConfigError, match=r"1,000,000 completions of up to 900 tokens.*`prompts`"):
        check_memory(many, tiny_decoder().config, 900, 300)
    alone = configure("sort", "ppo", {"adapter_rank": 4})
    whole = configure("sort", "ppo", {})
    assert batch_bytes(alone, LARGE, 13, 6) < batch_bytes(whole, LARGE, 13, 6)
