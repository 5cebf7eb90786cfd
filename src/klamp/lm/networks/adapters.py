"""Low-rank adapters (LoRA, arXiv:2106.09685): x ↦ xWᵀ + (α/r)·xAᵀBᵀ, of which A and B are trained.

B is 0 at first, so that the adapted decoder is the base to the bit; the base is never changed, and
is the reference policy. Adapters are kept in float32 whatever the precision of the base, and saved
in the layout of the library PEFT, or merged into the weights.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.errors import CheckpointError, ConfigError, one_line, shown
from klamp.lm.networks.decoder import LINEAR_MAPS, Decoder, Linear
from klamp.lm.networks.pretrained import MAPS, SMALL
from klamp.lm.networks.tensor_files import check_tensors, list_tensors, read_tensor
from klamp.runs.atomic_write import write_atomically
from klamp.runs.bounded_read import Unreadable, read_object

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_FIXED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False,),
    "use_rslora": (False,),
    "fan_in_fan_out": (False,),
    "modules_to_save": (None, []),
    "layers_to_transform": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
}
"""What PEFT offers beyond: names, and the values that do without."""


@dataclass(frozen=True)
class LoRA:
    """Which linear maps have adapters, and of which size."""

    rank: int = 16
    """R ≥ 1: each adapter has r·(in + out) numbers."""
    alpha: float | None = None
    """The adapters' output is multiplied by alpha/rank; by default alpha is 2·rank."""
    maps: tuple[str, ...] = LINEAR_MAPS
    """Of ``LINEAR_MAPS``."""

    def __post_init__(self) -> None:
        wrong = [name for name in self.maps if name not in LINEAR_MAPS]
        if wrong or not self.maps:
            raise ConfigError(
                f"LoRA was given maps={shown(self.maps)}. Expected one or several of "
                f"{', '.join(LINEAR_MAPS)}."
            )
        if self.rank < 1:
            raise ConfigError(f"LoRA was given rank={shown(self.rank)}. Expected at least 1.")

    @property
    def scale(self) -> float:
        """alpha/rank."""
        return 2.0 if self.alpha is None else self.alpha / self.rank


class AdaptedLinear(eqx.Module):
    """A frozen linear map with an adapter beside it."""

    base: Linear
    a: Float[Array, "*layers r in"]
    b: Float[Array, "*layers out r"]
    scale: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*B in"]) -> Float[Array, "*B out"]:
        """xWᵀ + scale·xAᵀBᵀ."""
        low = x.astype(self.a.dtype) @ self.a.T
        return self.base(x) + (self.scale * (low @ self.b.T)).astype(x.dtype)

    def merged(self) -> Linear:
        """W + scale·BA, in the precision of W."""
        weight = self.base.weight.astype(self.a.dtype) + self.scale * (self.b @ self.a)
        return Linear(weight.astype(self.base.weight.dtype), self.base.bias)


def adapt(decoder: Decoder, lora: LoRA, key: PRNGKeyArray) -> Decoder:
    """The decoder with new adapters, which change nothing yet.

    A is uniform within ±1/√in, as PEFT draws it.
    """
    keys = jax.random.split(key, len(LINEAR_MAPS))

    def adapted(name: str) -> AdaptedLinear:
        base = getattr(decoder.blocks, name)
        layers, out, inner = base.weight.shape
        bound, shape = inner**-0.5, (layers, lora.rank, inner)
        a = jax.random.uniform(keys[LINEAR_MAPS.index(name)], shape, minval=-bound, maxval=bound)
        return AdaptedLinear(base, a, jnp.zeros((layers, out, lora.rank)), lora.scale)

    return _with_maps(decoder, {name: adapted(name) for name in lora.maps})


def adapters_only(decoder: Decoder) -> Decoder:
    """True for A and B of every adapter and False for all else: what of a decoder is trained."""
    frozen = jax.tree.map(lambda _: False, decoder)
    found = {name: getattr(frozen.blocks, name) for name in _adapted(decoder)}
    return _with_maps(frozen, {name: replace(each, a=True, b=True) for name, each in found.items()})


def without_adapters(decoder: Decoder) -> Decoder:
    """The base, whose arrays are the same: the reference policy."""
    return _with_maps(decoder, {name: each.base for name, each in _adapted(decoder).items()})


def merged(decoder: Decoder) -> Decoder:
    """A decoder without adapters that computes the same, to rounding."""
    return replace(decoder, blocks=decoder.blocks.merged())


def save_adapters(decoder: Decoder, folder: str | Path, *, base: str = "") -> None:
    """Write the adapters in PEFT's layout; ``base`` is the name, or folder, of the base model.

    Raises ``ConfigError`` for a decoder that has none, and ``OSError``.
    """
    adapted, folder = _adapted(decoder), Path(folder)
    if not adapted:
        raise ConfigError("There are no adapters to save: `adapt` gives a decoder some.")
    first = next(iter(adapted.values()))
    form = {name: values[0] for name, values in _FIXED.items()} | {
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": first.a.shape[-2],
        "lora_alpha": first.scale * first.a.shape[-2],
        "lora_dropout": 0.0,
        "target_modules": [MAPS[name].split(".")[-1] for name in adapted],
        "inference_mode": True,
    }
    tensors: dict[str, np.ndarray] = {}
    for name, each in adapted.items():
        for part, arrays in (("A", each.a), ("B", each.b)):
            names = _tensor_names(name, part, decoder.config.layers)
            tensors |= dict(zip(names, np.asarray(arrays), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS, safetensors.numpy.save(tensors, {"format": "pt"}))
    write_atomically(folder / CONFIG, json.dumps(form, indent=2, sort_keys=True) + "\n")


def load_adapters(decoder: Decoder, folder: str | Path) -> Decoder:
    """The decoder with the adapters that PEFT, or ``save_adapters``, wrote into a folder.

    Raises ``CheckpointError`` where they are damaged, of another model, or more than plain LoRA.
    """
    folder = Path(folder)
    try:
        lora = _lora_of(read_object((folder / CONFIG).resolve(), SMALL))
        found = list_tensors([(folder / WEIGHTS).resolve()])
        fresh = adapt(without_adapters(decoder), lora, jax.random.key(0))
        layers = decoder.config.layers
        shapes = {
            tensor: array.shape[1:]
            for name, each in _adapted(fresh).items()
            for part, array in (("A", each.a), ("B", each.b))
            for tensor in _tensor_names(name, part, layers)
        }
        check_tensors(found, shapes)

        def read(name: str, part: str) -> Array:
            names = _tensor_names(name, part, layers)
            return jnp.asarray(np.stack([read_tensor(n, found[n]) for n in names]), jnp.float32)

        return _with_maps(
            fresh,
            {
                name: replace(each, a=read(name, "A"), b=read(name, "B"))
                for name, each in _adapted(fresh).items()
            },
        )
    except Unreadable as error:
        raise CheckpointError(
            f"{folder} holds no adapters for this model: {one_line(error)} Expected {CONFIG} "
            f"and {WEIGHTS} of a LoRA that PEFT or klamp saved for the same base model."
        ) from error


def _lora_of(form: dict[str, Any]) -> LoRA:
    """What an `adapter_config.json` says. Raises ``Unreadable``."""
    for name, values in _FIXED.items():
        if form.get(name, values[0]) not in values:
            raise Unreadable(f"{CONFIG} says {name} {shown(form[name])}, expected {values[0]}")
    rank, alpha, modules = (form.get(n) for n in ("r", "lora_alpha", "target_modules"))
    if not isinstance(rank, int) or not 1 <= rank <= 2**20:
        raise Unreadable(f"{CONFIG} says r {shown(rank)}, expected a whole number from 1")
    if not isinstance(alpha, int | float):
        raise Unreadable(f"{CONFIG} says lora_alpha {shown(alpha)}, expected a number")
    ours = {module.split(".")[-1]: name for name, module in MAPS.items()}
    if not isinstance(modules, list) or not modules or not all(str(m) in ours for m in modules):
        raise Unreadable(
            f"{CONFIG} says target_modules {shown(modules)}, expected some of {', '.join(ours)}"
        )
    chosen = {ours[str(module)] for module in modules}
    return LoRA(rank, float(alpha), tuple(name for name in LINEAR_MAPS if name in chosen))


def _tensor_names(name: str, part: str, layers: int) -> list[str]:
    start = "base_model.model.model.layers"
    return [f"{start}.{layer}.{MAPS[name]}.lora_{part}.weight" for layer in range(layers)]


def _adapted(decoder: Decoder) -> dict[str, AdaptedLinear]:
    """The linear maps that have adapters, by name."""
    maps = {name: getattr(decoder.blocks, name) for name in LINEAR_MAPS}
    return {name: each for name, each in maps.items() if isinstance(each, AdaptedLinear)}


def _with_maps(decoder: Decoder, maps: dict[str, Any]) -> Decoder:
    return replace(decoder, blocks=replace(decoder.blocks, **maps))
