"""What may change the last digits is recorded, and nothing that tells who or where."""

import getpass
import platform
from pathlib import Path

from klamp.runtime.provenance import differences, fingerprint


def test_it_is_the_same_twice_and_names_what_changed() -> None:
    now = fingerprint()
    assert now == fingerprint()
    assert {"jax", "numpy", "python", "processor", "cores"} <= set(now)
    assert differences(now, now) == []
    assert differences(now | {"jax": "0.0.1"}, now) == [f"jax was 0.0.1 and is {now['jax']}"]
    assert differences({}, now) == []


def test_it_tells_neither_who_nor_where() -> None:
    text = str(fingerprint())
    for private in (str(Path.home()), platform.node(), f"/{getpass.getuser()}"):
        assert private not in text
