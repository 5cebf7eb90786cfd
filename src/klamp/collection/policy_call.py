"""The policy call between two steps of the environments: the only thing computed on the way."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from klamp.collection.numpy_backend import Translation, translate
from klamp.mathematics.normalization import Scaling, normalize
from klamp.networks import Model
from klamp.runtime.device import cpu
from klamp.runtime.seeding import key_of
from klamp.types import Inputs

Act = Callable[[Any, int], Any]
"""Raw inputs, t → actions; of a recurrent policy, actions and the next hidden state."""


def make_act(model: Model) -> Callable[[Array, Scaling | None, Any, Any], Act]:
    """θ, scaling, the rollout's noise, inputs like the rollout's → the policy call.

    Where the policy needs nothing but observations, the inputs are that array alone. On a CPU,
    small networks then act in numpy (see ``numpy_backend``); all others act by one compiled
    program.
    """

    def act(known: tuple[Array, Scaling | None], seen: Any, noise: Any) -> Any:
        theta, scaling = known
        inputs = seen if isinstance(seen, Inputs) else Inputs(seen)
        if scaling is not None:
            inputs = inputs._replace(observation=normalize(inputs.observation, scaling))
        distribution, memory = model.act(theta, inputs)
        action = distribution.sample_from(noise)
        return action if memory is None else (action, memory)

    @jax.jit
    def compiled(known: Any, seen: Any, noise: Any, t: Any) -> Any:
        return act(known, seen, jax.tree.map(lambda leaf: leaf[t], noise))

    translations: dict[Any, Translation | None] = {}

    def begin(theta: Array, scaling: Scaling | None, noise: Any, seen: Any) -> Act:
        known = (theta, scaling)
        plain = isinstance(seen, np.ndarray) and cpu()
        form = (scaling is None, seen.shape if plain else None)
        if form not in translations:
            example = jax.tree.map(lambda leaf: np.asarray(leaf)[0], noise) if plain else None
            translations[form] = translate(act, known, seen, example) if plain else None
        translation = translations[form]
        if translation is None:
            return lambda seen, t: compiled(known, seen, noise, t)
        finish = translation.begin(known)
        drawn = [np.asarray(leaf) for leaf in jax.tree.leaves(noise)]
        return lambda seen, t: finish(seen, *[leaf[t] for leaf in drawn])

    return begin


def make_noise(model: Model, theta: Array, seen: Any, length: int) -> Callable[..., Any]:
    """A key's words → the noise of ``length`` steps, drawn in one call before they begin."""
    inputs = seen if isinstance(seen, Inputs) else Inputs(seen)
    distribution, _ = jax.eval_shape(model.act, theta, inputs)
    return jax.jit(lambda words: distribution.noise(key_of(words), (length,)))
