"""Language models in Hugging Face's folders: read, and written so that other software opens them.

A folder has `config.json`, the tensors in one or several safetensors files, and mostly a tokenizer.
Nothing is downloaded, and nothing in a folder is run; links are followed, since downloads are kept
as links to one store. Every tensor of the files has its place in the
decoder and the other way round, and what a configuration asks for that the decoder does not do is
refused by its name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Bool, Float, Int

from klamp.errors import CheckpointError, one_line, shown
from klamp.lm.networks.decoder import Decoder, DecoderConfig
from klamp.lm.networks.model_config import config_of, form_of
from klamp.lm.networks.tensor_files import (
    PRECISIONS,
    Tensor,
    check_tensors,
    list_tensors,
    read_tensor,
)
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tokens.chat import ChatTemplate, read_chat_template
from klamp.lm.tokens.tokenizer import Tokenizer, read_tokenizer
from klamp.runs.atomic_write import write_atomically
from klamp.runs.bounded_read import Unreadable, parse_object, read_bounded, read_object

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
COMPANIONS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "symbols.json",
)
"""Files beside the model that are kept as they are."""

SMALL, LARGE = 2**24, 2**27
"""Bytes that an object about the model may have, and a tokenizer."""

Precision = Literal["float32", "bfloat16", "float16"]

MAPS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""The linear maps of a layer, by the names that such folders give them."""
_SCALES = {
    "attention_norm": "input_layernorm.weight",
    "query_norm": "self_attn.q_norm.weight",
    "key_norm": "self_attn.k_norm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
}
_WHOLE = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "own_head": "lm_head.weight",
}


@dataclass(frozen=True)
class Pretrained:
    """A decoder with what its folder holds beside it."""

    decoder: Decoder
    tokenizer: Tokenizer | None = None
    chat: ChatTemplate | None = None
    """How messages become a prompt; None where the folder does not say."""
    form: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`config.json` as it was read: what it says beyond ``config`` is written again."""
    companions: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Other files of the folder, by name, written again as they were."""

    @property
    def config(self) -> DecoderConfig:
        """The form of the decoder."""
        return self.decoder.config

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The tokens that end a text, by `generation_config.json`, `config.json` or tokenizer."""
        told = self.form.get("eos_token_id")
        if (data := self.companions.get("generation_config.json")) is not None:
            told = parse_object(data, "generation_config.json").get("eos_token_id", told)
        ends: list[Any] = told if isinstance(told, list) else [told]
        found = tuple(end for end in ends if isinstance(end, int) and not isinstance(end, bool))
        if not found and self.tokenizer is not None and self.tokenizer.end is not None:
            found = (self.tokenizer.end,)
        return found

    def logits(
        self, tokens: Int[Array, "S L"], valid: Bool[Array, "S L"] | None = None
    ) -> Float[Array, "S L V"]:
        """Unnormalised log-probabilities of each token's successor, in float32.

        ``valid`` is False for padding; without it all tokens are valid.
        """
        return _logits(self.decoder, jnp.asarray(tokens), valid)

    def save(self, folder: str | Path) -> None:
        """Write a folder that ``load_pretrained``, and transformers, open; adapters are merged.

        Raises ``ConfigError`` where no family of models has this form, and ``OSError``.
        """
        folder, config = Path(folder), self.decoder.config
        tensors = tensors_of(self.decoder)
        precision = tensors[_WHOLE["embedding"]].dtype.name
        form = form_of(config, self.form) | {"torch_dtype": precision}
        companions = dict(self.companions)
        if self.tokenizer is not None:
            companions |= self.tokenizer.files()
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in companions.items():
            write_atomically(folder / name, data)
        write_atomically(folder / WEIGHTS, safetensors.numpy.save(tensors, {"format": "pt"}))
        write_atomically(folder / CONFIG, json.dumps(form, indent=2, sort_keys=True) + "\n")


@eqx.filter_jit
def _logits(decoder: Decoder, tokens: Array, valid: Array | None) -> Array:
    return decoder.logits(tokens, valid)


def load_pretrained(folder: str | Path, dtype: Precision | None = None) -> Pretrained:
    """The language model of a folder that transformers' ``save_pretrained`` writes.

    ``dtype`` is the precision of the arrays, by default that of the embedding in the file. Raises
    ``CheckpointError`` where a file is missing, damaged, or asks for what the decoder does not do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"There is no folder {shown(str(folder))} with a language model. Expected one that "
            f"holds {CONFIG} and {WEIGHTS}; nothing is downloaded."
        )
    try:
        form = read_object((folder / CONFIG).resolve(), SMALL)
        config = config_of(form)
        decoder = _read_decoder(folder, config, dtype)
        present = [name for name in COMPANIONS if (folder / name).exists()]
        companions = {name: read_bounded((folder / name).resolve(), LARGE) for name in present}
        tokenizer = read_tokenizer(companions)
        chat = read_chat_template(companions)
    except Unreadable as error:
        raise CheckpointError(
            f"{folder} holds no language model that klamp reads: {one_line(error)} Expected "
            f"{CONFIG} and {WEIGHTS}, as transformers' `save_pretrained` writes them."
        ) from error
    if tokenizer is not None and tokenizer.vocabulary > config.vocabulary:
        raise CheckpointError(
            f"The tokenizer of {folder} has {tokenizer.vocabulary:,} tokens, and the model's "
            f"vocabulary {config.vocabulary:,}: some of them have no embedding. Take the tokenizer "
            "that the model was trained with."
        )
    return Pretrained(decoder, tokenizer, chat, form, companions)


def tensors_of(decoder: Decoder) -> dict[str, np.ndarray]:
    """The tensors of a decoder by the names that Hugging Face gives them, adapters merged."""
    whole = replace(decoder, blocks=decoder.blocks.merged())
    tensors: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree.leaves_with_path(whole):
        names, array = _names(path, decoder.config), np.asarray(leaf)
        parts = array if _stacked(path) else array[None]
        tensors |= {n: np.ascontiguousarray(p) for n, p in zip(names, parts, strict=True)}
    return tensors


def _read_decoder(folder: Path, config: DecoderConfig, dtype: Precision | None) -> Decoder:
    """The decoder of a folder's tensors, all of which have their place in it."""
    form = eqx.filter_eval_shape(random_decoder, config, jax.random.key(0))
    shapes = {
        name: leaf.shape[1:] if _stacked(path) else leaf.shape
        for path, leaf in jax.tree.leaves_with_path(form)
        for name in _names(path, config)
    }
    found = _without_copies(list_tensors(_weight_files(folder)), config)
    check_tensors(found, shapes)
    precision = jnp.dtype(dtype or PRECISIONS[found[_WHOLE["embedding"]].precision])

    def read(path: Any, leaf: Any) -> Array:
        whole = np.empty(leaf.shape, precision)
        parts = whole if _stacked(path) else whole[None]
        for part, name in zip(parts, _names(path, config), strict=True):
            part[...] = read_tensor(name, found[name])
        return jnp.asarray(whole)

    return jax.tree.map_with_path(read, form)


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold the tensors."""
    if (folder / WEIGHTS).exists():
        return [(folder / WEIGHTS).resolve()]
    if not (folder / INDEX).exists():
        pickled = any(folder.glob("*.bin"))
        raise Unreadable(
            f"it has neither {WEIGHTS} nor {INDEX}"
            + (", and pickled tensors are never read" if pickled else "")
        )
    told: Any = read_object((folder / INDEX).resolve(), SMALL).get("weight_map")
    if not isinstance(told, dict) or not told:
        raise Unreadable(f"{INDEX} has no weight_map")
    names = sorted({str(name) for name in told.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise Unreadable(f"{INDEX} names {shown(name)}, which is no file of the folder")
    return [(folder / name).resolve() for name in names]


def _without_copies(found: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Without what older files hold beside the parameters: rotary frequencies, the tied head."""
    kept = {name: t for name, t in found.items() if not name.endswith("rotary_emb.inv_freq")}
    head, embedding = _WHOLE["own_head"], _WHOLE["embedding"]
    if config.tied_head and head in kept and embedding in kept:
        if not np.array_equal(
            read_tensor(head, kept[head]), read_tensor(embedding, kept[embedding])
        ):
            raise Unreadable(f"its config.json ties the head, and {head} is not {embedding}")
        del kept[head]
    return kept


def _stacked(path: Any) -> bool:
    """Whether a leaf of a decoder has a first axis of layers."""
    return path[0].name == "blocks"


def _names(path: Any, config: DecoderConfig) -> list[str]:
    """The tensors that a leaf of a decoder is made of: one, or one for each layer."""
    fields = [key.name for key in path]
    if not _stacked(path):
        return [_WHOLE[fields[0]]]
    name = f"{MAPS[fields[1]]}.{fields[2]}" if fields[1] in MAPS else _SCALES[fields[1]]
    return [f"model.layers.{layer}.{name}" for layer in range(config.layers)]
