"""An episode as a film."""

from pathlib import Path

import pytest

import klamp
from klamp.evaluation.video import record_video


def test_a_video_needs_a_known_ending(trained: klamp.Result, tmp_path: Path) -> None:
    with pytest.raises(klamp.ConfigError, match=r"\.mp4 or \.gif"):
        record_video(trained.policy, tmp_path / "film.txt")
