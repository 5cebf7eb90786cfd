"""Tensors are listed before they are read, and what is wrong with them is named."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from klamp.lm.networks.tensor_files import check_tensors, list_tensors, read_tensor
from klamp.runs.bounded_read import Unreadable


def written(path: Path, **tensors: np.ndarray) -> Path:
    path.write_bytes(safetensors.numpy.save(tensors))
    return path


def test_tensors_of_several_files(tmp_path: Path) -> None:
    half = np.asarray(jnp.arange(3, dtype=jnp.bfloat16))
    first = written(tmp_path / "1.safetensors", a=half)
    second = written(tmp_path / "2.safetensors", b=np.ones((2, 1), np.float16))
    found = list_tensors([first, second])
    check_tensors(found, {"a": (3,), "b": (2, 1)})
    np.testing.assert_array_equal(read_tensor("a", found["a"]), half)
    with pytest.raises(Unreadable, match="'a' a second time"):
        list_tensors([first, first])
    first.unlink()
    with pytest.raises(Unreadable, match=r"a of 1\.safetensors cannot be read"):
        read_tensor("a", found["a"])


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    found = list_tensors([written(tmp_path / "x", layer=np.ones(2, np.int64))])
    with pytest.raises(Unreadable, match=r"the tensor lager \(and 1 more\) is missing.*`layer`"):
        check_tensors(found, {"lager": (2,), "other": (1,)})
    with pytest.raises(Unreadable, match="'layer' has no place"):
        check_tensors(found, {})
    with pytest.raises(Unreadable, match=r"shape \[2\], expected \[3\]"):
        check_tensors(found, {"layer": (3,)})
    with pytest.raises(Unreadable, match="'I64'"):
        check_tensors(found, {"layer": (2,)})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00" * 8, b"\xff" * 8 + b"{}"])
def test_foreign_files_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"x\.safetensors"):
        list_tensors([path])
