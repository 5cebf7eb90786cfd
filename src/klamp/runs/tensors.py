"""The arrays of a pytree by name, as the tensor file of a checkpoint has them."""

from pathlib import Path
from typing import TypeVar

import numpy as np

from klamp.errors import CheckpointError, shown

Tree = TypeVar("Tree")


def tensors_of(tree: object) -> dict[str, np.ndarray]:
    """Every leaf of a pytree as a numpy array, by its path."""
    import jax  # noqa: PLC0415 - `klamp explain` and `compare` read folders without it

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def restore_tensors(template: Tree, tensors: dict[str, np.ndarray], where: Path) -> Tree:
    """A tree like ``template`` with the saved leaves; names, shapes and dtypes must agree."""
    expected = tensors_of(template)
    if set(expected) != set(tensors):
        differing = sorted(set(expected) ^ set(tensors))
        raise CheckpointError(
            f"{where} does not fit the configuration of its run: the arrays "
            f"{shown(differing[:4], 300)} are on one side only. It was saved with other settings; "
            "resume with its own config.json."
        )
    for name, array in expected.items():
        found = tensors[name]
        if array.shape != found.shape or array.dtype != found.dtype:
            remedy = (
                "Resume with the config.json it was saved with."
                if array.shape != found.shape
                else "Its run was trained in another precision than klamp's, which it cannot go on "
                "from; train it anew."
            )
            raise CheckpointError(
                f"{where} does not fit the configuration of its run: {name} is "
                f"{found.dtype}{shown(list(found.shape))}, expected "
                f"{array.dtype}{list(array.shape)}. {remedy}"
            )
    import jax  # noqa: PLC0415 - as above

    return jax.tree_util.tree_map_with_path(
        lambda path, _: tensors[jax.tree_util.keystr(path)], template
    )
