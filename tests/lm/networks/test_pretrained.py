"""Folders of transformers: equal logits, written so that they are read again, damage is named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from lm.reference_decoder import stirred

from klamp import CheckpointError, ConfigError
from klamp.lm import load_pretrained
from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.networks.pretrained import Pretrained, tensors_of
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tokens.tokenizer import SymbolTokenizer

CHECKPOINTS = Path(__file__).parent / "checkpoints"
KINDS = sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))
CONFIG = DecoderConfig(11, 8, 2, 2, 1, 4, 12, context=16, tied_head=True)
WEIGHTS = "model.safetensors"


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    """Left padding included; `benchmarks/lm/transformers_equality.py` made the files."""
    stored = safetensors.numpy.load_file(CHECKPOINTS / f"{kind}.safetensors")
    model = load_pretrained(CHECKPOINTS / kind)
    count, new = stored["tokens"].shape[1], stored["greedy"].shape[1]
    tokens = np.concatenate((stored["tokens"], stored["greedy"]), axis=1)
    valid = np.pad(stored["valid"], ((0, 0), (0, new)), constant_values=True)
    logits = np.asarray(model.logits(jnp.asarray(tokens), jnp.asarray(valid)))
    apart = np.abs(logits[:, :count] - stored["logits"])[stored["valid"]]
    assert apart.max() < 1e-5
    np.testing.assert_array_equal(logits[:, count - 1 : -1].argmax(axis=-1), stored["greedy"])
    model.save(tmp_path)
    again = load_pretrained(tmp_path)
    assert again.config == model.config
    for tensor, its in zip(*map(jax.tree.leaves, (again.decoder, model.decoder)), strict=True):
        np.testing.assert_array_equal(tensor, its)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tied model with a tokenizer of eleven tokens."""
    tokenizer = SymbolTokenizer(tuple("0123456789"))
    Pretrained(stirred(CONFIG), tokenizer, form={"eos_token_id": 3, "custom": 1}).save(tmp_path)
    return tmp_path


def change_tensors(folder: Path, changes: dict[str, Any]) -> None:
    """Replace tensors; None takes one away."""
    tensors = safetensors.numpy.load_file(folder / WEIGHTS) | changes
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    (folder / WEIGHTS).write_bytes(safetensors.numpy.save(kept))


def change_config(folder: Path, changes: dict[str, Any]) -> None:
    form = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(form | changes))


def test_a_folder_keeps_what_came_with_it(folder: Path, tmp_path: Path) -> None:
    model = load_pretrained(folder)
    assert model.tokenizer is not None
    assert model.tokenizer.encode("42") == [5, 3]
    assert model.end_tokens == (3,)
    assert replace(model, form={}).end_tokens == (0,)
    model.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["custom"] == 1
    change_config(folder, {"vocab_size": 10})
    change_tensors(folder, {"model.embed_tokens.weight": np.zeros((10, 8), np.float32)})
    with pytest.raises(CheckpointError, match=r"tokenizer of .* has 11 tokens"):
        load_pretrained(folder)


def test_several_files_and_low_precision(folder: Path) -> None:
    whole = load_pretrained(folder)
    tensors = safetensors.numpy.load_file(folder / WEIGHTS)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    half = {name: np.asarray(jnp.asarray(t, jnp.bfloat16)) for name, t in tensors.items()}
    names = sorted(half)
    parts = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, its in parts.items():
        (folder / file).write_bytes(safetensors.numpy.save({name: half[name] for name in its}))
    (folder / WEIGHTS).unlink()
    index = {name: file for file, its in parts.items() for name in its}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    read = load_pretrained(folder)
    assert read.decoder.embedding.dtype == jnp.bfloat16
    precise = load_pretrained(folder, dtype="float32")
    assert precise.decoder.embedding.dtype == jnp.float32
    for name, tensor in tensors_of(precise.decoder).items():
        np.testing.assert_array_equal(tensor, half[name].astype(np.float32))
        np.testing.assert_allclose(tensor, tensors_of(whole.decoder)[name], rtol=2**-8)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(index, "../a.safetensors")})
    )
    with pytest.raises(CheckpointError, match="no file of the folder"):
        load_pretrained(folder)


NAME = "model.layers.1.self_attn.k_proj.weight"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({NAME: None}, f"the tensor {NAME} is missing"),
        ({"model.layers.2.mlp.up_proj.weight": np.ones(2)}, "layers.2.mlp.up_proj.weight' has no"),
        ({NAME: np.ones((8, 4), np.float32)}, r"shape \[8, 4\], expected \[4, 8\]"),
        ({NAME: np.ones((4, 8), np.int8)}, "type 'I8'"),
        ({"lm_head.weight": np.ones((11, 8), np.float32)}, "ties the head"),
    ],
)
def test_every_tensor_has_its_place(changes: dict[str, Any], words: str, folder: Path) -> None:
    change_tensors(folder, changes)
    with pytest.raises(CheckpointError, match=words):
        load_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"\x80\x04pickled", "config.json is a Python pickle"),
        ("config.json", None, "config.json is missing"),
        (WEIGHTS, b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (WEIGHTS, (2**62).to_bytes(8, "little") + b"{}", "cannot be read as safetensors"),
        (WEIGHTS, None, "neither model.safetensors nor"),
        ("symbols.json", b'{"symbols": 3}', "symbols.json holds no list"),
    ],
)
def test_damaged_files_are_named(
    name: str, content: bytes | None, words: str, folder: Path
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        load_pretrained(folder)


def test_downloads_are_links(folder: Path, tmp_path: Path) -> None:
    """A store of files that folders link to, as Hugging Face's cache is."""
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for path in list(folder.iterdir()):
        if path.is_file():
            (linked / path.name).symlink_to(path)
    assert load_pretrained(linked).config == CONFIG
    shutil.rmtree(linked)
    with pytest.raises(CheckpointError, match="nothing is downloaded"):
        load_pretrained(linked)


def test_a_form_that_no_family_has_is_not_saved(tmp_path: Path) -> None:
    odd = random_decoder(replace(CONFIG, query_key_norm=True), jax.random.key(0))
    with pytest.raises(ConfigError, match="no model of the family llama"):
        Pretrained(odd).save(tmp_path)
