"""The policy's observation of a Dict or Tuple with images among its parts."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces


def is_image(space: object) -> bool:
    """Bytes with three axes."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


class JoinedBox(spaces.Box):
    """One row of float32 for each observation: numbers first, then images one after another.

    Images are stored from 0 to 1, each flattened in the order of its axes. Only the numbers before
    them are normalised.
    """

    def __init__(self, numbers: int, images: tuple[tuple[int, ...], ...]) -> None:
        """``numbers`` columns that are no image, then one image of each of the shapes."""
        self.numbers, self.images = numbers, images
        super().__init__(-np.inf, np.inf, (numbers + sum(map(math.prod, images)),), np.float32)


def normalized_part(space: spaces.Box) -> tuple[int, ...]:
    """The shape of what is normalised of an observation: all of it, or the numbers before images.

    Bytes are not normalised: the networks divide them by 255.
    """
    if space.dtype == np.uint8:
        return (0,)
    return (space.numbers,) if isinstance(space, JoinedBox) else space.shape


def normalized_in(space: spaces.Box, observation: Any) -> Any:
    """The part of observations [..., features] that is normalised, where any is."""
    return observation[..., : space.numbers] if isinstance(space, JoinedBox) else observation
