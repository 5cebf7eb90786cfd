"""Files are read within bounds, as plain data, or not at all, with the reason."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from klamp.reading import Unreadable, first_bytes, read_bounded, read_object, recognise


def test_links_pipes_folders_and_devices_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder", "missing", "a\0b"):
        with pytest.raises(Unreadable, match=r"is missing or no plain file|is no plain file"):
            read_bounded(tmp_path / name, 100)
    with pytest.raises(Unreadable, match="no plain file"):
        read_bounded(Path("/dev/zero"), 100)
    assert read_bounded(secret, 4) == b"mine"


def test_size_is_known_before_anything_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(Unreadable, match="100,000,000,000 bytes, at most 1,000 expected"):
        read_bounded(huge, 1000)
    assert first_bytes(huge) == bytes(64)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


def saved() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (zipped(), "zip archive"),
        (pickle.dumps({"a": 1}), "pickle"),
        (pickle.dumps(Path("x"), protocol=0), "pickle"),
        (saved(), "NumPy array"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"<!doctype html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x1f\x8b\x08", "gzip"),
        (b'{"a": 1}', None),
    ],
)
def test_foreign_files_are_told_by_their_first_bytes(data: bytes, kind: str | None) -> None:
    found = recognise(data)
    assert found is None if kind is None else kind in str(found)


def test_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, {"b": null}], "c": 1.5}')
    assert read_object(path, 100) == {"a": [1, {"b": None}], "c": 1.5}


def test_depth_is_counted_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": ' + "[" * 30 + "]" * 30 + "}")
    read_object(path, 1000)
    path.write_text('{"a": ' + "[" * 32 + "]" * 32 + "}")
    with pytest.raises(Unreadable, match="nested"):
        read_object(path, 1000)
