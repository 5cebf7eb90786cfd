"""Whether a run with these environments can be resumed exactly, found by a small resume.

A copy of the environments walks at random, its position is taken, and it walks on; a second copy
is put into that position and walks the same way. Where both see the same, so will a resumed run.
"""

from collections.abc import Callable

import numpy as np

from klamp.envs.host.interface import HostEnvironments, Transition
from klamp.envs.spaces.actions import random_actions, to_environment
from klamp.runtime.seeding import Purpose, generator

STEPS = 24
"""Steps of each walk."""


def resumes_exactly(make: Callable[[], HostEnvironments], seed: int) -> bool:
    """Whether a position, restored, leads on to the same observations, rewards and ends."""
    first, second = make(), make()
    try:
        first.reset()
        _walk(first, seed, 0)
        saved = first.position().arrays()
        expected = _walk(first, seed, 1)
        _, problems = second.restore(saved)
        found = _walk(second, seed, 1)
    finally:
        first.close()
        second.close()
    return not problems and all(_same(a, b) for a, b in zip(expected, found, strict=True))


def _walk(environments: HostEnvironments, seed: int, iteration: int) -> list[Transition]:
    """Random steps; the transitions, copied out of the environments' buffers."""
    environments.begin(iteration)
    draw = generator(seed, Purpose.CHECK, iteration)
    to_action = to_environment(environments.action_space)
    seen: list[Transition] = []
    for _ in range(STEPS):
        action = random_actions(
            environments.action_space, environments.num_envs, environments.action_mask, draw
        )
        after = environments.step(to_action(action))
        # Other numbers of an info may come from the clock; nothing is trained on them.
        told = {name: np.array(getattr(after, name)) for name in after._fields[:-1]}
        seen.append(after._replace(**told, numbers=None))
    return seen


def _same(a: Transition, b: Transition) -> bool:
    """Whether two transitions agree in every byte."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(a[:-1], b[:-1], strict=True))
