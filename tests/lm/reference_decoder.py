"""A decoder in numpy and float64, one token and one head at a time, written from the definitions.

``weights`` are the tensors of a Hugging Face folder, ``form`` its `config.json`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from klamp.lm.networks.decoder import Decoder, DecoderConfig
from klamp.lm.networks.untrained import random_decoder


def stirred(config: DecoderConfig) -> Decoder:
    """A random decoder in which no bias is 0, no scale 1, and the largest logit about 4."""
    decoder, draw = random_decoder(config, jax.random.key(7)), np.random.default_rng(8)

    def moved(leaf: Any) -> Any:
        return jnp.asarray(leaf + 0.3 * draw.normal(size=leaf.shape).astype(np.float32))

    return jax.tree.map(moved, jax.device_get(decoder))


def reference_logits(weights: dict[str, Any], form: dict[str, Any], tokens: list[int]) -> Any:
    """[L, V]: the logits after each token of one sequence without padding."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    x = [w["model.embed_tokens.weight"][token] for token in tokens]
    for layer in range(form["num_hidden_layers"]):
        mine = {n.removeprefix(f"model.layers.{layer}."): v for n, v in w.items()}
        x = _block(mine, form, x)
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return np.stack([head @ _norm(v, w["model.norm.weight"], form) for v in x])


def _block(w: dict[str, Any], form: dict[str, Any], x: list[Any]) -> list[Any]:
    heads, width = form["num_attention_heads"], _head_width(form)
    share = heads // form["num_key_value_heads"]
    seen: list[tuple[Any, Any]] = []
    results = []
    for position, v in enumerate(x):
        y = _norm(v, w["input_layernorm.weight"], form)
        q = _linear(w, "self_attn.q_proj", y).reshape(-1, width)
        k = _linear(w, "self_attn.k_proj", y).reshape(-1, width)
        if "self_attn.q_norm.weight" in w:
            q = [_norm(each, w["self_attn.q_norm.weight"], form) for each in q]
            k = [_norm(each, w["self_attn.k_norm.weight"], form) for each in k]
        k = [_turn(each, position, form) for each in k]
        seen.append((k, _linear(w, "self_attn.v_proj", y).reshape(-1, width)))
        visible = seen[-(form.get("sliding_window") or len(seen)) :]
        attended = []
        for h in range(heads):
            turned = _turn(q[h], position, form)
            score = np.array([turned @ k[h // share] for k, _ in visible]) / math.sqrt(width)
            p = np.exp(score - score.max())
            p /= p.sum()
            attended.append(
                sum(pi * value[h // share] for pi, (_, value) in zip(p, visible, strict=True))
            )
        added = v + _linear(w, "self_attn.o_proj", np.concatenate(attended))
        y = _norm(added, w["post_attention_layernorm.weight"], form)
        gate = _linear(w, "mlp.gate_proj", y)
        results.append(
            added
            + _linear(w, "mlp.down_proj", gate / (1 + np.exp(-gate)) * _linear(w, "mlp.up_proj", y))
        )
    return results


def _linear(w: dict[str, Any], name: str, x: Any) -> Any:
    return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0)


def _norm(x: Any, scale: Any, form: dict[str, Any]) -> Any:
    return x / math.sqrt((x @ x) / len(x) + form["rms_norm_eps"]) * scale


def _turn(x: Any, position: int, form: dict[str, Any]) -> Any:
    half, turned = len(x) // 2, np.empty_like(x)
    for i in range(half):
        angle = position * _frequency(i / half, form)
        a, b = x[i], x[i + half]
        turned[i] = a * math.cos(angle) - b * math.sin(angle)
        turned[i + half] = b * math.cos(angle) + a * math.sin(angle)
    return turned


def _frequency(exponent: float, form: dict[str, Any]) -> float:
    frequency, rope = form["rope_theta"] ** -exponent, form["rope_scaling"]
    if rope is None:
        return frequency
    wavelength, original = 2 * math.pi / frequency, rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    if wavelength < original / high:
        return frequency
    if wavelength > original / low:
        return frequency / rope["factor"]
    smooth = (original / wavelength - low) / (high - low)
    return (1 - smooth) * frequency / rope["factor"] + smooth * frequency


def _head_width(form: dict[str, Any]) -> int:
    return form.get("head_dim") or form["hidden_size"] // form["num_attention_heads"]
