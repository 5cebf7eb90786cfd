"""Which spaces are supported."""

import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from gymnasium import spaces

from klamp import EnvironmentFault
from klamp.envs.spaces.supported import check_spaces, form, limits

BOX = spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize("observation", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_observation_spaces_that_are_supported(observation: spaces.Space) -> None:
    check_spaces("E", observation, BOX)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_action_spaces_that_are_supported(action: spaces.Space) -> None:
    check_spaces("E", BOX, action)


@pytest.mark.parametrize(
    ("observation", "action", "odd"),
    [
        (spaces.Text(3), BOX, "The observation of `E` is Text"),
        (
            spaces.Dict({"t": spaces.Tuple((spaces.Text(3),))}),
            BOX,
            r"observation\['t'\]\[0\] of `E` is Text",
        ),
        (spaces.Box(0, 1, (0,)), BOX, "observation of `E` is Box"),
        (spaces.Dict({}), BOX, "observation of `E` is Dict"),
        (BOX, spaces.Box(0, 9, (2,), np.int32), "The action of `E` is Box"),
        (BOX, spaces.Box(0, 1, ()), "action of `E` is Box"),
        (BOX, spaces.Tuple((BOX, spaces.Graph(BOX, None))), r"action\[1\] of `E` is Graph"),
    ],
)
def test_what_is_not_supported_is_named(
    observation: spaces.Space, action: spaces.Space, odd: str
) -> None:
    with pytest.raises(EnvironmentFault, match=odd):
        check_spaces("E", observation, action)


def test_observations_may_have_other_bounds_and_actions_may_not() -> None:
    box, wide = (spaces.Box(-x, x, (2,), np.float32) for x in (1, 2))
    assert form(box) == form(wide)
    assert limits(box) != limits(wide)
    assert form(box) != form(spaces.Box(0, 255, (2,), np.uint8))
    assert form(spaces.Dict(a=box)) != form(spaces.Dict(b=box))
    assert form(spaces.Discrete(2)) != form(spaces.Discrete(2, start=1))
