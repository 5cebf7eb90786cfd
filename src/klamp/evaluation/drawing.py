"""Drawing without a display: MuJoCo by EGL, else by OSMesa, where the user has not chosen.

MuJoCo reads the choice from the variable ``MUJOCO_GL``, and a process that has tried one library
cannot use another. So each is first tried in a short process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from klamp.errors import ConfigError

VARIABLE = "MUJOCO_GL"
BY = {"egl": "libegl1 and libgl1", "osmesa": "libosmesa6"}
"""The libraries that draw without a display, in the order tried, and Debian's packages of them."""
LIMIT_S = 60.0
"""Seconds for a library to draw an empty scene."""

_TRY = """
import mujoco
from mujoco.{name} import GLContext
context = GLContext(64, 64)
context.make_current()
model = mujoco.MjModel.from_xml_string("<mujoco/>")
mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
"""


@contextmanager
def without_display(env: str) -> Generator[None]:
    """Draw without a display inside the block, where there is none and MuJoCo draws.

    The variable is as before afterwards. Raises ``ConfigError`` where no library works.
    """
    if not _has_to_be_chosen():
        yield
        return
    os.environ[VARIABLE] = working(env)
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def follow(env: Any) -> None:
    """Have MuJoCo draw by the model's own camera that moves along, where nobody chose a camera.

    The usual camera of some environments stands still in Gymnasium 1.4, and what runs is soon out
    of its sight.
    """
    inside = env.unwrapped
    renderer = getattr(inside, "mujoco_renderer", None)
    chosen = [getattr(inside, name, None) for name in ("camera_id", "camera_name")]
    if renderer is None or chosen != [None, None]:
        return
    names = [inside.model.camera(number).name for number in range(inside.model.ncam)]
    if "track" in names and "trackbodyid" not in (renderer.default_cam_config or {}):
        renderer.camera_id = names.index("track")


def _has_to_be_chosen() -> bool:
    """Whether MuJoCo is here, nobody has told it how to draw, and there is no display."""
    shown = (
        sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return "mujoco" in sys.modules and not shown and VARIABLE not in os.environ


def working(env: str) -> str:
    """The first library that draws here; ``env`` is the environment in the message."""
    found: list[str] = []
    for name in BY:
        problem = _problem(name)
        if problem is None:
            return name
        found.append(f"{name}: {problem}")
    raise ConfigError(
        f"The environment `{env}` cannot be drawn here: there is no display, and MuJoCo draws by "
        f"neither library that needs none ({'; '.join(found)}). Install one of them, on Debian "
        f"{' or '.join(BY.values())}, or set {VARIABLE} to one that works."
    )


def _problem(name: str) -> str | None:
    """Why a library does not draw here, in its own words; None where it does."""
    code = [sys.executable, "-c", _TRY.format(name=name)]
    chosen = os.environ | {VARIABLE: name}
    try:
        tried = subprocess.run(  # noqa: S603 - the words are ours
            code, env=chosen, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {LIMIT_S:g} s"
    said = [line for line in tried.stderr.splitlines() if line.strip()]
    if tried.returncode == 0:
        return None
    return " ".join(said[-1].split())[:160] if said else f"it ended with {tried.returncode}"
