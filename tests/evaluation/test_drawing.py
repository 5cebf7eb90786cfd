"""What draws without a display: the first that works, and a paragraph where none does."""

import os
import sys

import gymnasium
import pytest

import klamp
from klamp.evaluation import drawing
from klamp.evaluation.drawing import VARIABLE, follow, without_display


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without a display, where MuJoCo is imported and nobody has said how to draw."""
    for name in (VARIABLE, "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "mujoco", sys)
    return monkeypatch


@pytest.mark.parametrize(("works", "chosen"), [("egl osmesa", "egl"), ("osmesa", "osmesa")])
def test_the_first_that_works_is_chosen_for_as_long_as_it_is_drawn(
    nothing_chosen: pytest.MonkeyPatch, works: str, chosen: str
) -> None:
    nothing_chosen.setattr(drawing, "_problem", lambda name: None if name in works else "no")
    with without_display("E"):
        assert os.environ[VARIABLE] == chosen
    assert VARIABLE not in os.environ


def test_what_is_chosen_stays(nothing_chosen: pytest.MonkeyPatch) -> None:
    nothing_chosen.setattr(drawing, "working", lambda _: pytest.fail("nothing is to be tried"))
    nothing_chosen.setenv(VARIABLE, "glfw")
    with without_display("E"):
        assert os.environ[VARIABLE] == "glfw"
    nothing_chosen.delenv(VARIABLE)
    nothing_chosen.setenv("DISPLAY", ":0")
    with without_display("E"):
        assert VARIABLE not in os.environ
    nothing_chosen.delenv("DISPLAY")
    nothing_chosen.delitem(sys.modules, "mujoco")
    with without_display("E"):
        assert VARIABLE not in os.environ


def test_where_none_works_one_paragraph_says_so(nothing_chosen: pytest.MonkeyPatch) -> None:
    """By real processes, in which there is no such library."""
    nothing_chosen.setattr(drawing, "_TRY", "raise OSError('no library for {name}')")
    with pytest.raises(klamp.ConfigError) as caught, without_display("Cheetah"):
        pass
    said = str(caught.value)
    assert "`Cheetah` cannot be drawn here: there is no display" in said
    assert "egl: OSError: no library for egl; osmesa: OSError: no library for osmesa" in said
    assert "libosmesa6" in said
    assert "\n" not in said
    nothing_chosen.setattr(drawing, "_TRY", "import time\ntime.sleep(60)")
    nothing_chosen.setattr(drawing, "LIMIT_S", 0.05)
    with pytest.raises(klamp.ConfigError, match=r"egl: no answer in 0\.05 s"):
        drawing.working("E")


def test_what_runs_is_followed_unless_a_camera_was_chosen() -> None:
    """The bug: a film of a cheetah that ran out of the picture in its first seconds."""
    for given, followed in (({}, True), ({"camera_id": -1}, False)):
        with gymnasium.make("HalfCheetah-v5", render_mode="rgb_array", **given) as made:
            follow(made)
            assert (made.unwrapped.mujoco_renderer.camera_id >= 0) == followed
    with gymnasium.make("CartPole-v1", render_mode="rgb_array") as made:
        follow(made)
