"""Episodes as a film."""

from pathlib import Path
from typing import Any

import gymnasium
import imageio.v2 as imageio
import numpy as np
import pytest
from environments import Count

import klamp
from klamp.evaluation import periodic, video
from klamp.evaluation.video import record_video

SMALL: dict[str, Any] = {
    "num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,), "quiet": True, "steps": 128,
}  # fmt: skip


class Drawn(Count):
    """Shows as many white columns as it has made steps, on 7 × 9 pixels."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, shows: str = "columns") -> None:
        super().__init__()
        self.render_mode, self.shows = render_mode, shows

    def _observation(self) -> np.ndarray:
        return np.array([0, self.steps], np.float32)

    def render(self) -> Any:
        picture = np.zeros((7, 9, 3), np.uint8)
        picture[:, : self.steps] = 255
        return {"columns": picture, "nothing": None, "numbers": picture / 2}[self.shows]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> klamp.TrainedPolicy:
    return klamp.train(Drawn, **SMALL, out=tmp_path_factory.mktemp("run")).policy


def test_a_video_needs_a_known_ending(policy: klamp.TrainedPolicy, tmp_path: Path) -> None:
    with pytest.raises(klamp.ConfigError, match=r"\.mp4 or \.gif"):
        record_video(policy, tmp_path / "film.txt")
    with pytest.raises(klamp.ConfigError, match="an integer ≥ 1"):
        record_video(policy, tmp_path / "film.gif", episodes=0)


def test_episodes_follow_each_other_and_nothing_is_stretched(
    policy: klamp.TrainedPolicy, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "film.gif"
    # Three steps, rewarded by 1, 2 and 3.
    assert record_video(policy, path, episodes=2) == [6.0, 6.0]
    frames = [np.asarray(frame)[..., :3] for frame in imageio.mimread(path)]
    assert [frame.shape for frame in frames] == [(8, 10, 3)] * 8
    white = [int((frame[0, :, 0] > 127).sum()) for frame in frames]
    assert white == [0, 1, 2, 3] * 2
    assert [each.name for each in path.parent.iterdir()] == ["film.gif"]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (lambda render_mode=None: Drawn(render_mode, "nothing"), "`render` returned None"),
        (lambda render_mode=None: Drawn(render_mode, "numbers"), "returned float64 of the shape"),
        (Count, r"could not be made with `render_mode='rgb_array'`"),
    ],
)
def test_what_shows_no_pictures_is_one_paragraph(
    env: Any, said: str, policy: klamp.TrainedPolicy, tmp_path: Path
) -> None:
    with pytest.raises(klamp.ConfigError, match=said) as caught:
        record_video(policy, tmp_path / "film.gif", env=env)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named(
    policy: klamp.TrainedPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "find_spec", lambda name: None if "ffmpeg" in name else name)
    with pytest.raises(klamp.ConfigError, match=r"needs the package `imageio-ffmpeg`\. Do `pip"):
        record_video(policy, tmp_path / "film.mp4")
    # Before anything is trained.
    with pytest.raises(klamp.ConfigError, match="imageio-ffmpeg"):
        klamp.train(Drawn, **SMALL, eval_interval=32, video_every=1, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_films_while_training_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every other evaluation; those that fail are warned of."""
    monkeypatch.setattr(periodic, "SUFFIX", ".gif")
    given: dict[str, Any] = SMALL | {"eval_interval": 32, "eval_episodes": 1}
    bare = klamp.train(Drawn, **given, out=tmp_path / "bare")
    films = klamp.train(Drawn, **given, video_every=2, out=tmp_path / "films")
    assert np.asarray(bare.policy.theta).tobytes() == np.asarray(films.policy.theta).tobytes()
    made = sorted(each.name for each in (tmp_path / "films" / "videos").iterdir())
    assert made == ["step_000000000064.gif", "step_000000000128.gif"]
    with pytest.warns(klamp.KlampWarning, match=r"No film was made at step 128\..*returned None"):
        failed = klamp.train(
            Drawn, **given, video_every=4, env_kwargs={"shows": "nothing"}, out=tmp_path / "failed"
        )
    assert np.asarray(bare.policy.theta).tobytes() == np.asarray(failed.policy.theta).tobytes()


@pytest.mark.compiles
def test_cheetahs_are_drawn_without_a_display(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    env = gymnasium.make("HalfCheetah-v5", max_episode_steps=3)
    policy = klamp.train("HalfCheetah-v5", **SMALL, out=tmp_path / "run").policy
    try:
        record_video(policy, tmp_path / "film.gif", env=env)
    except klamp.ConfigError as error:
        if "cannot be drawn here" in str(error):
            pytest.skip(str(error))
        raise
    frames = imageio.mimread(tmp_path / "film.gif")
    assert len(frames) == 4
    assert np.ptp(np.asarray(frames[0])) > 100
