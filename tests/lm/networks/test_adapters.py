"""Adapters: nothing at first, the only thing that is trained, and saved as PEFT saves them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from lm.reference_decoder import stirred

from klamp import CheckpointError, ConfigError
from klamp.lm.networks.adapters import (
    LoRA,
    adapt,
    adapters_only,
    load_adapters,
    merged,
    save_adapters,
    without_adapters,
)
from klamp.lm.networks.decoder import Decoder, DecoderConfig

CONFIG = DecoderConfig(11, 8, 2, 2, 1, 4, 12)
LORA = LoRA(rank=3, alpha=4.5, maps=("query", "down"))
TOKENS = jax.random.randint(jax.random.key(1), (2, 5), 0, 11)
LOGITS = jax.jit(Decoder.logits)


@pytest.fixture(scope="module")
def base() -> Decoder:
    return stirred(CONFIG)


@pytest.fixture(scope="module")
def adapted(base: Decoder) -> Decoder:
    """Adapters that were trained, so that B is not 0."""
    fresh = adapt(base, LORA, jax.random.key(2))
    trained, frozen = eqx.partition(fresh, adapters_only(fresh))
    return eqx.combine(jax.tree.map(lambda x: x + 0.2, trained), frozen)


def test_nothing_changes_at_first(base: Decoder) -> None:
    fresh = adapt(base, LORA, jax.random.key(2))
    np.testing.assert_array_equal(LOGITS(fresh, TOKENS), LOGITS(base, TOKENS))


def test_only_the_adapters_are_trained(base: Decoder, adapted: Decoder) -> None:
    """Per layer 3·(8 + 8) numbers for the query and 3·(12 + 8) for the MLP's last map."""
    trained, _ = eqx.partition(adapted, adapters_only(adapted))
    assert sum(leaf.size for leaf in jax.tree.leaves(trained)) == 2 * 3 * (16 + 20)
    below = without_adapters(adapted)
    assert jax.tree.structure(below) == jax.tree.structure(base)
    for leaf, its in zip(jax.tree.leaves(below), jax.tree.leaves(base), strict=True):
        assert leaf is its


def test_an_adapter_adds_its_scaled_product(base: Decoder, adapted: Decoder) -> None:
    """W + (4.5/3)·BA in place of W, computed here with numpy."""
    blocks = base.blocks
    for name in LORA.maps:
        each = getattr(adapted.blocks, name)
        product = np.einsum("lor,lri->loi", np.asarray(each.b), np.asarray(each.a))
        linear = getattr(blocks, name)
        weight = jnp.asarray(np.asarray(linear.weight) + 1.5 * product)
        blocks = replace(blocks, **{name: replace(linear, weight=weight)})
    expected = LOGITS(replace(base, blocks=blocks), TOKENS)
    assert float(jnp.abs(expected - LOGITS(base, TOKENS)).max()) > 0.1
    np.testing.assert_allclose(LOGITS(adapted, TOKENS), expected, atol=2e-5)
    np.testing.assert_allclose(LOGITS(merged(adapted), TOKENS), expected, atol=2e-5)


def test_a_folder_brings_them_back(base: Decoder, adapted: Decoder, tmp_path: Path) -> None:
    save_adapters(adapted, tmp_path, base="some/model")
    loaded = load_adapters(base, tmp_path)
    np.testing.assert_array_equal(LOGITS(loaded, TOKENS), LOGITS(adapted, TOKENS))
    form = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (form["r"], form["lora_alpha"]) == (3, 4.5)
    assert form["target_modules"] == ["q_proj", "down_proj"]
    with pytest.raises(ConfigError, match="no adapters"):
        save_adapters(base, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_dora": True}, "use_dora True"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"r": 4}, "has the shape"),
        ({"target_modules": ["q_proj"]}, "has no place"),
        ({"target_modules": ["q_proj", "down_proj", "up_proj"]}, "up_proj.lora_A.weight"),
    ],
)
def test_more_than_plain_adapters_is_refused(
    change: dict[str, Any], words: str, base: Decoder, adapted: Decoder, tmp_path: Path
) -> None:
    save_adapters(adapted, tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=words):
        load_adapters(base, tmp_path)


def test_adapters_of_another_model_are_refused(adapted: Decoder, tmp_path: Path) -> None:
    save_adapters(adapted, tmp_path)
    with pytest.raises(CheckpointError, match="expected"):
        load_adapters(stirred(replace(CONFIG, width=6, head_width=2)), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors.numpy.save({})[:9])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_adapters(adapted, tmp_path)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="rank=0"):
        LoRA(rank=0)
    with pytest.raises(ConfigError, match="lm_head"):
        LoRA(maps=("query", "lm_head"))
