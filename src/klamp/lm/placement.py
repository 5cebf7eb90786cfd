"""The update over completions whose rows lie on several devices, of one process or of many.

As in ``training/placement.py``: the batch is one global array, sharded by completions; θ, the
algorithm's state and everything else is replicated, and XLA makes each sum over rows an all-reduce.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from klamp.lm.sequences import Completions
from klamp.runtime.joined import Processes
from klamp.runtime.seeding import key_of
from klamp.training.placement import AXIS

ROWS = 4
"""The place of the completions among the arguments of ``make_learn``'s program behind ``what``."""

KEY = 6
"""The place of the key, which lies on several devices as its words."""

CONSTANT = (0, 3)
"""The places of the model and of the reference θ: the same objects at each update."""


class PlacedLearn:
    """``make_learn``'s program, over arrays that it places on the devices of a mesh."""

    def __init__(self, learn: Any, mesh: Mesh, processes: Processes) -> None:
        """``learn`` is jitted; each of the processes knows all completions."""
        self._processes = processes
        self._same = NamedSharding(mesh, PartitionSpec())
        self._by_row = NamedSharding(mesh, PartitionSpec(AXIS))
        self._kept: dict[int, tuple[Any, Any]] = {}
        same = self._same

        def run(what: Literal["all", "critic"], *arguments: Any) -> Any:
            key = key_of(arguments[KEY])
            return learn(what, *arguments[:KEY], key, *arguments[KEY + 1 :])

        kinds = (same,) * ROWS + (self._by_row,) + (same,) * 3
        self._program: Any = jax.jit(run, static_argnums=0, in_shardings=kinds, out_shardings=same)

    def lower(self, what: Literal["all", "critic"], *arguments: Any) -> "Lowered":
        """As of a jitted function."""
        shapes = jax.tree.map(_shape, self._placed(*arguments))
        return Lowered(self._program.lower(what, *shapes), self._called)

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
            if place in CONSTANT:
                placed.append(self._constant(place, argument))
            elif place == ROWS:
                placed.append(self._rows(argument))
            else:
                plain = jax.random.key_data(argument) if place == KEY else argument
                placed.append(jax.tree.map(self._everywhere, plain))
        return tuple(placed)

    def _constant(self, place: int, tree: Any) -> Any:
        """A tree on all devices, which is put there once."""
        if place not in self._kept or self._kept[place][0] is not tree:
            self._kept[place] = (tree, jax.tree.map(self._everywhere, tree))
        return self._kept[place][1]

    def _everywhere(self, leaf: Any) -> Any:
        shape = np.shape(leaf)
        devices = self._same.addressable_devices_indices_map(shape)
        copies = [jax.device_put(leaf, device) for device in devices]
        return jax.make_array_from_single_device_arrays(shape, self._same, copies)

    def _rows(self, completions: Completions) -> Any:
        """Each process gives the rows that its devices hold."""
        count, index = self._processes.count, self._processes.index

        def place(leaf: Any) -> Any:
            whole = np.asarray(leaf)
            rows = len(whole) // count
            own = whole[index * rows : (index + 1) * rows]
            return jax.make_array_from_process_local_data(self._by_row, own, whole.shape)

        return jax.tree.map(place, completions)


class Lowered:
    """An update that can be compiled."""

    def __init__(self, lowered: Any, called: Callable[..., Any]) -> None:
        self._lowered, self._called = lowered, called

    def compile(self) -> Callable[..., Any]:
        """The update."""
        program = self._lowered.compile()
        return lambda *arguments: self._called(program, *arguments)


def _shape(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
