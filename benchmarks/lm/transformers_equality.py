"""Whether klamp's decoder computes what transformers computes, on random tiny checkpoints.

``python benchmarks/lm/transformers_equality.py`` in an environment that has klamp, torch,
transformers and peft. Written to `results/lm_transformers.md`. With ``--fixtures`` the checkpoints
and the logits that the tests compare with are written, too.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
import peft
import safetensors.numpy
import torch
import transformers
from harness import RESULTS, write

from klamp.lm.networks.adapters import LoRA, adapt, load_adapters, merged, save_adapters
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.pretrained import Pretrained, load_pretrained

FIXTURES = Path(__file__).parents[2] / "tests" / "lm" / "checkpoints"
SIZE: dict[str, Any] = {
    "vocab_size": 19,
    "hidden_size": 12,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 18,
    "eos_token_id": 17,
    "bos_token_id": 16,
}
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
KINDS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {}),
    "llama-scaled-biases": (
        transformers.LlamaConfig,
        transformers.LlamaForCausalLM,
        {"rope_parameters": SCALED, "attention_bias": True, "mlp_bias": True},
    ),
    "qwen2-tied": (
        transformers.Qwen2Config,
        transformers.Qwen2ForCausalLM,
        {"tie_word_embeddings": True},
    ),
    "qwen2-window": (
        transformers.Qwen2Config,
        transformers.Qwen2ForCausalLM,
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0},
    ),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {}),
    "qwen3-tied-biases": (
        transformers.Qwen3Config,
        transformers.Qwen3ForCausalLM,
        {"tie_word_embeddings": True, "attention_bias": True},
    ),
    "mistral": (
        transformers.MistralConfig,
        transformers.MistralForCausalLM,
        {"sliding_window": 5},
    ),
}
STORED = ("llama-scaled-biases", "qwen2-tied", "qwen3", "mistral")
"""Those that the tests read: one of each family."""
ROWS, LENGTH, NEW = 4, 12, 16
PADDING = np.array([0, 2, 5, 8])
VALID = np.arange(LENGTH) >= PADDING[:, None]
TOKENS = np.random.default_rng(0).integers(0, 16, (ROWS, LENGTH))


def checkpoint(kind: str) -> Any:
    """A random model of transformers whose largest logit is about 4."""
    config, model, more = KINDS[kind]
    torch.manual_seed(sorted(KINDS).index(kind))
    made = model(config(**SIZE | more, attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.25 * torch.randn_like(parameter))
        scale = 4 / np.abs(theirs(made)[VALID]).max()
        made.model.norm.weight.mul_(float(scale))
    return made


def theirs(model: Any, tokens: np.ndarray = TOKENS, valid: np.ndarray = VALID) -> np.ndarray:
    """The logits of transformers, with the positions that its own generation gives."""
    positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)
    with torch.no_grad():
        return model(
            input_ids=torch.tensor(tokens),
            attention_mask=torch.tensor(valid, dtype=torch.long),
            position_ids=torch.tensor(positions),
        ).logits.numpy()


def apart(ours: Any, others: Any, valid: np.ndarray = VALID) -> float:
    """The largest difference in places that are valid."""
    return float(np.abs(np.asarray(ours) - np.asarray(others))[valid].max())


def reopened(model: type, folder: Path) -> Any:
    """What transformers makes of a folder that klamp wrote."""
    return model.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def greedy(decoder: Decoder) -> np.ndarray:
    """The likeliest tokens, one after another, by the cache."""
    advance = jax.jit(Decoder.advance)
    cache = decoder.empty_cache(ROWS, LENGTH + NEW)
    features, cache = advance(decoder, cache, jnp.asarray(TOKENS), jnp.asarray(VALID))
    found = [jnp.argmax(features[:, -1:] @ decoder.head.T, axis=-1)]
    for _ in range(NEW - 1):
        features, cache = advance(decoder, cache, found[-1], jnp.ones((ROWS, 1), bool))
        found.append(jnp.argmax(features @ decoder.head.T, axis=-1))
    return np.concatenate(found, axis=1)


def generated(model: Any) -> np.ndarray:
    """The same by transformers, without an end."""
    with torch.no_grad():
        whole = model.generate(
            torch.tensor(TOKENS),
            attention_mask=torch.tensor(VALID, dtype=torch.long),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=None,
        )
    return np.ascontiguousarray(whole[:, LENGTH:].numpy())


def cached(decoder: Decoder) -> np.ndarray:
    """Logits by a cache that is filled in pieces of 5, 1 and 6 tokens."""
    cache, found = decoder.empty_cache(ROWS, LENGTH), []
    for start, end in [(0, 5), (5, 6), (6, 12)]:
        piece = (jnp.asarray(part[:, start:end]) for part in (TOKENS, VALID))
        features, cache = decoder.advance(cache, *piece)
        found.append(features @ decoder.head.T)
    return np.concatenate(found, axis=1)


def adapters(model: Any, pretrained: Pretrained, folder: Path) -> dict[str, float]:
    """Adapters of ours as PEFT reads them and merged, and PEFT's as we read them."""
    decoder, kind = pretrained.decoder, type(model)
    fresh = adapt(decoder, LoRA(rank=3, alpha=5), jax.random.key(0))
    leaves, structure = jax.tree.flatten(fresh.blocks)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        x if x.any() else 0.3 * jax.random.normal(key, x.shape)
        for x, key in zip(leaves, keys, strict=True)
    ]
    ours = replace(fresh, blocks=structure.unflatten(moved))
    logits = ours.logits(TOKENS, VALID)
    save_adapters(ours, folder / "ours", base=str(folder / "theirs"))
    Pretrained(ours, form=pretrained.form).save(folder / "merged")
    with_ours = peft.PeftModel.from_pretrained(reopened(kind, folder / "theirs"), folder / "ours")
    chosen = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=["q_proj", "down_proj"], init_lora_weights=False
    )
    its = peft.get_peft_model(reopened(kind, folder / "theirs"), chosen)
    its.save_pretrained(folder / "peft")
    return {
        "adapters change": apart(logits, pretrained.logits(TOKENS, VALID)),
        "adapters in PEFT": apart(logits, theirs(with_ours)),
        "adapters merged": apart(logits, theirs(reopened(kind, folder / "merged"))),
        "merged here": apart(logits, merged(ours).logits(TOKENS, VALID)),
        "adapters from PEFT": apart(
            load_adapters(decoder, folder / "peft").logits(TOKENS, VALID), theirs(its)
        ),
    }


def compare(kind: str, folder: Path, keep: bool) -> dict[str, float]:
    """The largest differences of one kind of model."""
    model = checkpoint(kind)
    model.save_pretrained(folder / "theirs")
    expected = theirs(model)
    pretrained = load_pretrained(folder / "theirs")
    pretrained.save(folder / "ours_whole")
    every = np.ones_like(VALID)
    found = {
        "largest logit": float(np.abs(expected[VALID]).max()),
        "no padding": apart(pretrained.logits(TOKENS), theirs(model, valid=every), every),
        "left padding": apart(pretrained.logits(TOKENS, VALID), expected),
        "cached": apart(cached(pretrained.decoder), expected),
        "greedy tokens that differ": float(np.sum(greedy(pretrained.decoder) != generated(model))),
        "saved": apart(expected, theirs(reopened(type(model), folder / "ours_whole"))),
        **adapters(model, pretrained, folder),
    }
    if keep:
        shutil.rmtree(FIXTURES / kind, ignore_errors=True)
        shutil.copytree(folder / "theirs", FIXTURES / kind)
        (FIXTURES / kind / "generation_config.json").unlink()
        tensors = {"tokens": TOKENS, "valid": VALID, "logits": expected, "greedy": generated(model)}
        (FIXTURES / f"{kind}.safetensors").write_bytes(safetensors.numpy.save(tensors))
    return found


def page(rows: dict[str, dict[str, float]]) -> str:
    """The results as a page."""
    names = list(next(iter(rows.values())))
    versions = ", ".join(f"{n} {version(n)}" for n in ("transformers", "torch", "peft", "jax"))
    worst = max(
        v
        for row in rows.values()
        for n, v in row.items()
        if n not in ("largest logit", "adapters change", "greedy tokens that differ")
    )
    lines = [
        "# Language models beside transformers",
        "",
        "Random tiny checkpoints that transformers made, read by klamp: the largest absolute",
        f"difference of two logits, in float32, of {ROWS} sequences of {LENGTH} tokens, up to "
        f"{PADDING.max()} of them",
        f"left padding; {NEW} tokens greedily, of each. `saved` and `adapters merged` are folders",
        "that klamp wrote and transformers opened; `adapters in PEFT` and `from PEFT` are adapters",
        "that one of the two saved and the other read.",
        "",
        f"**The largest difference is {worst:.1e}.** {versions}; "
        "`python benchmarks/lm/transformers_equality.py`.",
        "",
        "| what | " + " | ".join(rows) + " |",
        "|---|" + "---|" * len(rows),
    ]
    for name in names:
        whole = name == "greedy tokens that differ"
        form = (
            "{:.0f}"
            if whole
            else "{:.2f}"
            if name in ("largest logit", "adapters change")
            else "{:.1e}"
        )
        lines.append(
            f"| {name} | " + " | ".join(form.format(row[name]) for row in rows.values()) + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            rows[kind] = compare(kind, Path(folder), arguments.fixtures and kind in STORED)
        print(kind, {name: f"{value:.2g}" for name, value in rows[kind].items()}, flush=True)
    write(arguments.out / "lm_transformers.md", page(rows))


if __name__ == "__main__":
    main()
