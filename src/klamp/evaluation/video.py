"""One episode as a film."""

from pathlib import Path
from typing import Any

from klamp.envs.source import source_to_evaluate
from klamp.errors import ConfigError, install_extra
from klamp.evaluation.policy import TrainedPolicy
from klamp.runtime.seeding import Purpose, environment_seed


def check_video(path: Path) -> None:
    """Raise ``ConfigError`` where a video cannot be written in the format of its name."""
    if path.suffix not in (".mp4", ".gif"):
        raise ConfigError(
            f"The video {path} must end in .mp4 or .gif, but ends in {path.suffix!r}."
        )


def record_video(policy: TrainedPolicy, path: Path, *, env: Any = None, seed: int = 0) -> float:
    """Film one episode into ``path`` (.mp4 or .gif); its return. Needs the extra `video`.

    ``env`` is that of the training, if left out, or whatever ``klamp.evaluate`` takes.
    """
    check_video(path)
    try:
        import imageio.v2 as imageio  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"A video needs the package `imageio` ({error}). {install_extra('video')}"
        ) from error
    source = source_to_evaluate(policy.config, env, None, None)
    if source.one is None:
        raise ConfigError(
            f"The environment `{source.title}` shows no pictures through Gymnasium, so no video "
            "can be made. Step it with `policy.act` and draw its states with its own library."
        )
    made = source.one.made(render_mode="rgb_array")
    try:
        frames, total = _film(policy.anew(seed), made, seed)
    finally:
        made.close()
    rate = int(made.metadata.get("render_fps", 30))
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.mimsave(path, frames, fps=rate)
    return total


def _film(policy: TrainedPolicy, env: Any, seed: int) -> tuple[list[Any], float]:
    """The pictures of one episode, and its return."""
    frames: list[Any] = []
    total, ended = 0.0, False
    observation, info = env.reset(seed=environment_seed(seed, Purpose.EVALUATE, 0, 0))
    while not ended:
        frames.append(env.render())
        mask = info.get("action_mask")
        action = policy.act(observation, deterministic=True, action_mask=mask)
        observation, reward, terminated, truncated, info = env.step(action)
        total, ended = total + float(reward), bool(terminated or truncated)
    return frames, total
