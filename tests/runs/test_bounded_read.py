"""Files are read within bounds, as plain data, or not at all, with the reason."""

import hashlib
import io
import json
import os
import pickle
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from klamp.runs.bounded_read import (
    Unreadable,
    first_bytes,
    parse_object,
    read_bounded,
    read_object,
    recognise,
    summed,
)


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
    assert first_bytes(huge) == bytes(512)
    with pytest.raises(Unreadable, match="100,000,000,000 bytes, expected 5"):
        next(summed(huge, 5, ""))


def test_a_file_comes_in_pieces_and_its_sum_is_known_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    data = bytes(range(256)) * 2**13
    path.write_bytes(data)
    right = hashlib.sha256(data).hexdigest()
    pieces = list(summed(path, len(data), right))
    assert b"".join(pieces) == data
    assert len(pieces) == 2
    with pytest.raises(Unreadable, match=f"the SHA-256 sum {right}, expected 00"):
        list(summed(path, len(data), "00"))
    # No more memory is asked for than the file has, whatever is claimed.
    with pytest.raises(Unreadable, match="expected 999,999,999,999"):
        list(summed(path, 10**12 - 1, right))
    assert read_bounded(path, 10**18) == data


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


def saved() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.pkl"))
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
        (tarred(), "tar"),
        (safetensors.numpy.save({"a": np.zeros(3)}), "safetensors"),
        (b'{"a": 1}', None),
    ],
)
def test_foreign_files_are_told_by_their_first_bytes(data: bytes, kind: str | None) -> None:
    found = recognise(data)
    assert found is None if kind is None else kind in str(found)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 5000])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    with pytest.raises(Unreadable, match=r"a\.json cannot be read as JSON"):
        parse_object(f'{{"a": {number}}}'.encode(), "a.json")


def test_a_name_that_stands_twice_is_found_at_once() -> None:
    names = ",".join(f'"{n}":0' for n in range(10**5))
    began = time.process_time()
    with pytest.raises(Unreadable, match="the name '99999' stands twice"):
        parse_object(f'{{{names},"99999":0}}'.encode(), "a.json")
    assert time.process_time() - began < 1


def test_messages_are_short_and_printable() -> None:
    name = json.dumps("\x1b[2J" + "x" * 10**5)
    with pytest.raises(Unreadable) as caught:
        parse_object(f"{{{name}: 0, {name}: 0}}".encode(), "a")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


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
