"""The update over a batch whose rows lie on several devices, of one process or of many.

The batch is one global array, sharded by environments or by completions; θ, the algorithm's state
and everything else is replicated. The program is that of a single device: XLA makes each sum over
rows an all-reduce.
"""

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from klamp.runtime.device import devices
from klamp.runtime.joined import Processes

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
    """A jitted update, over arrays that it places on the devices of a mesh."""

    def __init__(
        self,
        learn: Any,
        mesh: Mesh,
        processes: Processes,
        *,
        batch: int,
        axis: int,
        constant: Collection[int] = (),
        static: int = 0,
    ) -> None:
        """``batch`` is the place, among the arguments, of the arrays that are sharded.

        Each process gives its own rows of them, along ``axis``. What stands in the places
        ``constant`` is the same object at each update, and is put on the devices once. The first
        ``static`` arguments are no arrays; places are counted behind them.
        """
        self._learn, self._static, self._processes = learn, static, processes
        self._batch, self._axis, self._constant = batch, axis, frozenset(constant)
        self._same = NamedSharding(mesh, PartitionSpec())
        self._by_row = NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
        self._kept: dict[int, tuple[Any, Any]] = {}

    def lower(self, *arguments: Any) -> "Lowered":
        """As of a jitted function, for what ``arguments`` are like."""
        words, arrays = arguments[: self._static], arguments[self._static :]
        same, by_row = self._same, self._by_row
        program = jax.jit(
            self._learn,
            static_argnums=range(self._static),
            in_shardings=tuple(by_row if i == self._batch else same for i in range(len(arrays))),
            out_shardings=same,
        )
        shapes = jax.tree.map(_shape, self._placed(*arrays))
        return Lowered(program.lower(*words, *shapes), self._called)

    def _called(self, program: Any, *arguments: Any) -> Any:
        """The same result in each process, on a device of its own."""
        try:
            done = program(*self._placed(*arguments))
            return jax.block_until_ready(jax.tree.map(lambda leaf: leaf.addressable_data(0), done))
        except (RuntimeError, ValueError) as error:
            raise self._processes.explained(error) from error

    def _placed(self, *arguments: Any) -> tuple[Any, ...]:
        """The arguments of ``learn``, where the program takes them from."""
        placed: list[Any] = []
        for place, argument in enumerate(arguments):
            if place == self._batch:
                placed.append(jax.tree.map(self._rows, argument))
            elif place in self._constant:
                placed.append(self._once(place, argument))
            else:
                placed.append(jax.tree.map(self._everywhere, argument))
        return tuple(placed)

    def _once(self, place: int, tree: Any) -> Any:
        """A tree on all devices, which is put there again only where it is another."""
        if place not in self._kept or self._kept[place][0] is not tree:
            self._kept[place] = (tree, jax.tree.map(self._everywhere, tree))
        return self._kept[place][1]

    def _everywhere(self, leaf: Any) -> Any:
        shape = np.shape(leaf)
        devices = self._same.addressable_devices_indices_map(shape)
        copies = [jax.device_put(leaf, device) for device in devices]
        return jax.make_array_from_single_device_arrays(shape, self._same, copies)

    def _rows(self, leaf: Any) -> Any:
        """The rows of all processes, of which this one holds its own."""
        own, axis = leaf.shape, self._axis
        shape = (*own[:axis], own[axis] * self._processes.count, *own[axis + 1 :])
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=self._by_row)
        return jax.make_array_from_process_local_data(self._by_row, np.asarray(leaf), shape)


class Lowered:
    """An update that can be compiled."""

    def __init__(self, lowered: Any, called: Callable[..., Any]) -> None:
        self._lowered, self._called = lowered, called

    def compile(self) -> Callable[..., Any]:
        """The update."""
        return partial(self._called, self._lowered.compile())


def _shape(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
