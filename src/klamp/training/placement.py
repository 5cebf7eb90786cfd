"""The update over a batch whose rows lie on several devices, of one process or of many.

The batch is one global array, sharded by environments; θ, the algorithm's state and everything else
is replicated. The program is that of a single device: XLA makes each sum over rows an all-reduce.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from klamp.runtime.device import devices
from klamp.types import Rollout

AXIS = "shards"


def mesh_of(shards: int, processes: int) -> Mesh | None:
    """The devices that hold the shards; None where one device of one process holds all.

    Each process has ``shards / processes`` of them, in order, and puts them on as many of its
    devices as divide their number.
    """
    each = devices()
    used = math.gcd(shards // processes, *(len(own) for own in each))
    if used * processes == 1:
        return None
    return Mesh(np.array([device for own in each for device in own[:used]]), (AXIS,))


class PlacedLearn:
    """``make_learn``'s program, over arrays that it places on the devices of a mesh."""

    def __init__(
        self,
        learn: Any,
        mesh: Mesh,
        num_envs: int,
        explained: Callable[[Exception], Exception],
    ) -> None:
        """``learn`` is jitted; ``explained`` says what the failure of a transfer comes from."""
        self._num_envs, self._explained = num_envs, explained
        self._same = NamedSharding(mesh, PartitionSpec())
        self._by_environment = NamedSharding(mesh, PartitionSpec(None, AXIS))

        same, rows = self._same, self._by_environment
        self._program: Any = jax.jit(
            learn, in_shardings=(same, same, rows, same, same, same, same), out_shardings=same
        )

    def lower(self, *arguments: Any) -> "PlacedLearn":
        """As of a jitted function, for what ``arguments`` are like."""
        shapes = jax.tree.map(self._shape, self._placed(*arguments))
        self._program = self._program.lower(*shapes)
        return self

    def compile(self) -> Callable[..., Any]:
        """Compile what was lowered; the update, which cannot be lowered again."""
        self._program = self._program.compile()
        return self.__call__

    def __call__(self, *arguments: Any) -> Any:
        """The same result in each process, on a device of its own."""
        try:
            done = self._program(*self._placed(*arguments))
            return jax.block_until_ready(jax.tree.map(lambda leaf: leaf.addressable_data(0), done))
        except (RuntimeError, ValueError) as error:
            raise self._explained(error) from error

    def _placed(self, *arguments: Any) -> tuple[Any, ...]:
        """The arguments of ``learn``; the rollout holds the environments of this process."""
        theta, state, rollout, *rest = arguments
        same = jax.tree.map(self._everywhere, (theta, state, *rest))
        return (*same[:2], self._rows(rollout), *same[2:])

    def _everywhere(self, leaf: Any) -> Any:
        own = np.asarray(leaf)
        return jax.make_array_from_process_local_data(self._same, own, own.shape)

    def _rows(self, rollout: Rollout) -> Any:
        def place(leaf: Any) -> Any:
            shape = (leaf.shape[0], self._num_envs, *leaf.shape[2:])
            if isinstance(leaf, jax.ShapeDtypeStruct):
                return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=self._by_environment)
            own = np.asarray(leaf)
            return jax.make_array_from_process_local_data(self._by_environment, own, shape)

        return jax.tree.map(place, rollout)

    @staticmethod
    def _shape(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
