"""Files are whole or as they were."""

from pathlib import Path

import pytest

from klamp.runs import atomic_write


def test_the_old_content_stays_when_the_write_fails(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "config.json"
    atomic_write.write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_write.os, "fsync", fail)
    with pytest.raises(OSError, match="space"):
        atomic_write.write_atomically(path, "new")
    assert path.read_text() == "old"


def test_text_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a file with ü.txt"
    atomic_write.write_atomically(path, "γλδ")
    assert path.read_text(encoding="utf-8") == "γλδ"
    atomic_write.write_atomically(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]
