"""Decoders in numpy and float64, by the files of a model's folder; and random ones to write."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from case import Case
from safetensors.numpy import load_file, save_file

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class NumpyDecoder:
    """`config.json` and tensors, as transformers documents them."""

    form: dict[str, Any]
    tensors: dict[str, np.ndarray]

    def log_probabilities(self, tokens: list[int], temperature: float) -> np.ndarray:
        """Log π of each token's successor, [L, V]: one sequence without padding."""
        logits = self._features(tokens) @ self._head.T / temperature
        top = logits.max(axis=1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))

    @property
    def _head(self) -> np.ndarray:
        tied = self.form["tie_word_embeddings"]
        return self.tensors["model.embed_tokens.weight" if tied else "lm_head.weight"]

    def _features(self, tokens: list[int]) -> np.ndarray:
        x = self.tensors["model.embed_tokens.weight"][tokens]
        for layer in range(self.form["num_hidden_layers"]):
            name = f"model.layers.{layer}."
            x = x + self._attention(name, self._norm(x, f"{name}input_layernorm"))
            y = self._norm(x, f"{name}post_attention_layernorm")
            gate = self._linear(y, f"{name}mlp.gate_proj")
            y = gate / (1 + np.exp(-gate)) * self._linear(y, f"{name}mlp.up_proj")
            x = x + self._linear(y, f"{name}mlp.down_proj")
        return self._norm(x, "model.norm")

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        square = np.mean(x**2, axis=-1, keepdims=True)
        return x / np.sqrt(square + self.form["rms_norm_eps"]) * self.tensors[f"{name}.weight"]

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors.get(f"{name}.bias", 0.0)

    def _attention(self, name: str, x: np.ndarray) -> np.ndarray:
        form, length = self.form, len(x)
        width, heads = form["head_dim"], form["num_attention_heads"]
        parts = {}
        for kind in "qkv":
            part = self._linear(x, f"{name}self_attn.{kind}_proj").reshape(length, -1, width)
            scale = f"{name}self_attn.{kind}_norm"
            parts[kind] = self._norm(part, scale) if f"{scale}.weight" in self.tensors else part
        shared = heads // form["num_key_value_heads"]
        query, key = (self._turned(parts[kind]) for kind in "qk")
        key, value = (np.repeat(part, shared, axis=1) for part in (key, parts["v"]))
        score = np.einsum("qhw,khw->hqk", query, key) / np.sqrt(width)
        score = np.where(np.tril(np.ones((length, length), bool)), score, -np.inf)
        share = np.exp(score - score.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        attended = np.einsum("hqk,khw->qhw", share, value).reshape(length, heads * width)
        return self._linear(attended, f"{name}self_attn.o_proj")

    def _turned(self, x: np.ndarray) -> np.ndarray:
        half = x.shape[-1] // 2
        angle = np.arange(len(x))[:, None] * self.form["rope_theta"] ** (-np.arange(half) / half)
        cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
        first, second = x[..., :half], x[..., half:]
        return np.concatenate((first * cosine - second * sine, second * cosine + first * sine), -1)


def read_decoder(folder: Path) -> NumpyDecoder:
    """The decoder of a folder."""
    tensors = load_file(folder / "model.safetensors")
    exact = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    return NumpyDecoder(json.loads((folder / "config.json").read_text()), exact)


def write_random(case: Case, folder: Path) -> str:
    """A small model of some family with an alphabet for its vocabulary; the alphabet."""
    rng, family = case.rng, case.choose(["llama", "qwen2", "qwen3"])
    letters = LETTERS[: int(rng.integers(4, 20))]
    heads, width = int(case.choose([1, 2, 4])), int(case.choose([4, 8]))
    groups = int(case.choose([n for n in (1, 2, 4) if heads % n == 0]))
    form = {
        "model_type": family,
        "vocab_size": len(letters) + 1 + int(rng.integers(0, 3)),
        "hidden_size": heads * width if family != "qwen3" else int(case.choose([8, 12])),
        "num_hidden_layers": int(rng.integers(1, 4)),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": width,
        "intermediate_size": int(case.choose([8, 24])),
        "max_position_embeddings": 64,
        "rope_theta": float(case.choose([100.0, 10_000.0])),
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": case.chance(0.5),
        "attention_bias": family == "llama" and case.chance(0.5),
        "eos_token_id": 0,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(form))
    (folder / "symbols.json").write_text(json.dumps({"symbols": list(letters)}))
    save_file(_tensors(rng, form), folder / "model.safetensors")
    return letters


def _tensors(rng: np.random.Generator, form: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weights large enough for a first policy that is far from uniform."""
    d, mlp, width = form["hidden_size"], form["intermediate_size"], form["head_dim"]
    query, pairs = form["num_attention_heads"] * width, form["num_key_value_heads"] * width
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (form["vocab_size"], d)}
    if not form["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (form["vocab_size"], d)
    biased = {"qwen2": "qkv", "llama": "qkvo" if form["attention_bias"] else ""}
    for layer in range(form["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        sizes = {"q": (query, d), "k": (pairs, d), "v": (pairs, d), "o": (d, query)}
        for kind, shape in sizes.items():
            shapes[f"{name}self_attn.{kind}_proj.weight"] = shape
            if kind in biased.get(form["model_type"], ""):
                shapes[f"{name}self_attn.{kind}_proj.bias"] = shape[:1]
        for kind, shape in {"gate": (mlp, d), "up": (mlp, d), "down": (d, mlp)}.items():
            shapes[f"{name}mlp.{kind}_proj.weight"] = shape
    drawn = {
        n: rng.normal(size=s) * (s[-1] ** -0.5 if len(s) > 1 else 0.3) for n, s in shapes.items()
    }
    scales = ["model.norm"]
    for layer in range(form["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        scales += [f"{name}input_layernorm", f"{name}post_attention_layernorm"]
        if form["model_type"] == "qwen3":
            scales += [f"{name}self_attn.q_norm", f"{name}self_attn.k_norm"]
    for name in scales:
        size = width if "self_attn" in name else d
        drawn[f"{name}.weight"] = 1 + 0.2 * rng.normal(size=size)
    return {name: np.ascontiguousarray(part, np.float32) for name, part in drawn.items()}
