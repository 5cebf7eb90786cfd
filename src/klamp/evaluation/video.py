"""Episodes as a film, one after the other."""

import os
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from klamp.config.validation import is_integer
from klamp.envs import MASK_KEY
from klamp.envs.source import EnvironmentSource, source_to_evaluate
from klamp.errors import ConfigError, EnvironmentFault, install_extra, one_line
from klamp.evaluation.drawing import follow, without_display
from klamp.evaluation.policy import TrainedPolicy
from klamp.runtime.seeding import Purpose, environment_seed

PACKAGES = {".mp4": ("imageio", "imageio_ffmpeg"), ".gif": ("imageio",)}
"""The writers of films, by file suffix."""


def check_video(path: Path, episodes: int = 1) -> None:
    """Raise ``ConfigError`` where a video cannot be written in the format of its name."""
    if path.suffix not in PACKAGES:
        raise ConfigError(
            f"The video {path} must end in .mp4 or .gif, but ends in {path.suffix!r}."
        )
    if not is_integer(episodes, 1):
        raise ConfigError(f"`episodes` of a video is {episodes!r}, but must be an integer ≥ 1.")
    missing = [name for name in PACKAGES[path.suffix] if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"The video {path} needs the package `{missing[0].replace('_', '-')}`. "
            f"{install_extra('video')}"
        )


def check_pictures(source: EnvironmentSource) -> None:
    """Raise ``ConfigError`` where an environment cannot be rendered through Gymnasium."""
    if source.one is None:
        raise ConfigError(
            f"The environment `{source.title}` shows no pictures through Gymnasium, so no video "
            "can be made. Step it with `policy.act` and draw its states with its own library."
        )


def record_video(
    policy: TrainedPolicy, path: Path, *, env: object = None, seed: int = 0, episodes: int = 1
) -> list[float]:
    """Film so many episodes into ``path`` (.mp4 or .gif), one after the other; their returns.

    ``env`` is that of the training, if left out, or whatever ``klamp.evaluate`` takes. Actions are
    the most probable ones. Needs the extra ``video``. Without a display, MuJoCo's environments are
    drawn by EGL or OSMesa. Raises ``ConfigError`` where the environment cannot be drawn, and where
    the file cannot be written.
    """
    source = source_to_evaluate(policy.config, env, None, None)
    return film(policy, source, path, seed=seed, episodes=episodes)


def film(
    policy: TrainedPolicy, source: EnvironmentSource, path: Path, *, seed: int, episodes: int
) -> list[float]:
    """The same with a source of environments."""
    check_video(path, episodes)
    check_pictures(source)
    returns: list[float] = []
    made = _drawn(source)
    try:
        rate = float(made.metadata.get("render_fps") or 30)
        with without_display(source.title), _writer(path, rate) as write:
            actor = policy.anew(seed)
            for number in range(episodes):
                start = environment_seed(seed, Purpose.EVALUATE, 0, number)
                returns.append(0.0)
                for reward in _episode(actor, made, start):
                    write(_picture(made, source.title))
                    returns[-1] += reward
    finally:
        made.close()
    return returns


def _drawn(source: EnvironmentSource) -> Any:
    """An environment that draws itself."""
    assert source.one is not None
    try:
        with warnings.catch_warnings():
            # It does not list the mode: whether it can render is tried.
            warnings.simplefilter("ignore")
            made = source.one.made(render_mode="rgb_array")
    except EnvironmentFault as fault:
        raise ConfigError(
            f"No video can be made of `{source.title}`, which could not be made with "
            f"`render_mode='rgb_array'`. {one_line(fault)}"
        ) from fault
    follow(made)
    return made


def _episode(policy: TrainedPolicy, env: Any, seed: int) -> Iterator[float]:
    """Walk through an episode: before each step 0 for what is drawn there, then its reward."""
    policy.reset()
    observation, info = env.reset(seed=seed)
    reward, ended = 0.0, False
    while not ended:
        yield reward
        mask = info.get(MASK_KEY)
        action = policy.act(observation, deterministic=True, action_mask=mask)
        observation, paid, terminated, truncated, info = env.step(action)
        reward, ended = float(paid), bool(terminated or truncated)
    yield reward


def _picture(env: Any, title: str) -> np.ndarray:
    """The rendered picture, padded to even sides, which films need."""
    shown: Any = env.render()
    picture = np.asarray(shown)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        found = "None" if shown is None else f"{picture.dtype} of the shape {picture.shape}"
        raise ConfigError(
            f"No video can be made of `{title}`: with `render_mode='rgb_array'` its `render` "
            f"returned {found}; expected bytes [height, width, 3]."
        )
    odd = [(0, side % 2) for side in picture.shape[:2]]
    return np.pad(picture, [*odd, (0, 0)], mode="edge")


@contextmanager
def _writer(path: Path, rate: float) -> Generator[Any]:
    """Takes pictures one by one; the file appears when all of them are written."""
    import imageio.v2 as imageio  # noqa: PLC0415 - an extra

    as_film = {"fps": rate, "macro_block_size": 1}
    as_loop = {"duration": 1000 / rate, "loop": 0}
    options: dict[str, Any] = as_film if path.suffix == ".mp4" else as_loop
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened: Any = imageio.get_writer(part, **options)
        with warnings.catch_warnings(), opened as writer:
            # JAX warns of a fork, but the child process runs another program, ffmpeg.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            yield writer.append_data
        os.replace(part, path)
    except OSError as error:
        raise ConfigError(f"The video {path} could not be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)
