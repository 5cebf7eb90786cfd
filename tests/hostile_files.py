"""Damaged, foreign and hostile files, drawn at random but never far from whole ones.

The tests load a few hundred of them; the commands in ``benchmarks/reliability`` load 100,000.
"""

import copy
import hashlib
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "MANIFEST.json"
Files = dict[str, bytes]


class Raw(str):
    """JSON text that ``json.dumps`` would not write."""


def dumps(value: Any) -> str:
    """JSON of a tree; an object given as a list of ``Pair`` may have a name twice."""
    match value:
        case Raw():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)}: {dumps(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(dumps(each) for each in value) + "]"
        case _:
            return json.dumps(value)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def nested(depth: int, opening: str = "[", closing: str = "]") -> Raw:
    return Raw(opening * depth + "0" + closing * depth)


NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 7, 2**31, 2**63 - 1, 2**63, 2**64, 10**12, 10**30,
    Raw("1" + "0" * 400), Raw("-1" + "0" * 400), Raw("9" * 5000), 0.5, -0.0, 1e-320, 1e308,
    Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("01"), Raw(""),
    "", "0", "1e3", "true", "nan", "\0", "../x", "/etc/passwd", "a\0b", "x" * 3000, "\ud800",
    "\u001b[2Jgone", "two\nlines", "\u202ereversed", "é", "ppo", "trpo", "step", "os:system",
    "__class__", "__reduce__", [], [[]], [1, "a", None], list(range(300)), {}, {"": {}},
    {"__class__": "os.system"}, {"a": {"b": {"c": []}}}, nested(20), nested(40), nested(3000),
    nested(50, '{"a":', "}"), Raw('{"a": 1, "a": 2}'),
]  # fmt: skip
DTYPES = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F8_E4M3", "F8_E8M0", "F4", "X"]


def nasty(draw: random.Random) -> Any:
    """A value of its own: what is changed in it later is not changed in the table."""
    return copy.deepcopy(draw.choice(NASTY))


def nodes(tree: Any, trail: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a tree: the trails of keys and indices, the root's first."""
    found = [trail]
    inner = tree.items() if isinstance(tree, dict) else ()
    inner = enumerate(tree) if isinstance(tree, list) else inner
    for key, value in inner:
        found += nodes(value, (*trail, key))
    return found


def changed(draw: random.Random, tree: Any) -> Any:
    """A JSON tree with one to five changes anywhere in it."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw.choice((1, 1, 2, 3, 5))):
        trail = draw.choice(nodes(tree))
        if not trail:
            tree = nasty(draw) if draw.random() < 0.1 else tree
            continue
        place = tree
        for key in trail[:-1]:
            place = place[key]
        change_one(draw, place, trail[-1])
        if isinstance(tree, Raw):
            break
    return tree


def change_one(draw: random.Random, place: Any, key: Any) -> None:
    match draw.randrange(8):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[str(draw.choice(NASTY[28:]))] = place.pop(key)
        case 2 if isinstance(place, dict):
            # The same name twice: the second is written into the text of the first.
            once = dumps(place[key])
            place[key] = Raw(f"{once}, {json.dumps(key)}: {once}")
        case 3:
            place[key] = [place[key]]
        case 4:
            place[key] = str(place[key])
        case 5 if isinstance(place[key], int | float):
            place[key] = draw.choice((place[key] + 1, -place[key], place[key] * 10**6, 1.5))
        case _:
            place[key] = nasty(draw)


def garbled(draw: random.Random, data: bytes) -> bytes:
    """Bytes with a few changes, and never the same ones."""
    whole = data
    left = draw.choice((1, 1, 2, 5))
    while left > 0 or data == whole:
        left -= 1
        at = draw.randrange(len(data) + 1)
        to = min(len(data), at + draw.choice((1, 1, 2, 8, 64, 512)))
        match draw.randrange(7):
            case 0 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + data[to:]
            case 3:
                data = data[:at] + draw.randbytes(to - at) + data[to:]
            case 4:
                data = data[:at] + bytes(to - at) + data[to:]
            case 5:
                data = data[:to] + data[at:]
            case _:
                data = data + draw.randbytes(draw.choice((1, 8, 4096)))
    return data


class Payload:
    """What a hostile pickle calls when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def numpy_file(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([value], object), allow_pickle=True)
    return buffer.getvalue()


def foreign_files(canary: Path) -> Files:
    """What people give by mistake, and what attackers give on purpose, by what it is."""
    payload = Payload(canary)
    binary = pickle.dumps(payload)
    return {
        "pickle": binary,
        "pickle, protocol 0": pickle.dumps(payload, protocol=0),
        "pickle, protocol 1": pickle.dumps(payload, protocol=1),
        "PyTorch .pt": zipped("archive/data.pkl", binary),
        "PyTorch legacy": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + binary,
        "Stable-Baselines3 .zip": zipped("data", b'{"policy_class": {":serialized:": "gASV"}}'),
        "zip bomb": zipped("state.json", bytes(10**6)),
        "NumPy with objects": numpy_file(payload),
        "NumPy .npz": zipped("arr_0.npy", numpy_file(payload)),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(500),
        "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "HTML after a blank line": b"\n  <html><body>Sign in</body></html>",
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64,
        "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
        "tar": b"data.pkl".ljust(257, b"\0") + b"ustar\0" + bytes(300),
        "safetensors": (2).to_bytes(8, "little") + b"{}",
        "YAML": f"!!python/object/apply:os.system ['touch {canary}']".encode(),
        "Python": f"import os; os.system('touch {canary}')".encode(),
        "empty": b"",
        "zeros": bytes(4096),
        "UTF-16": '{"env": "CartPole-v1"}'.encode("utf-16"),
        "UTF-8 with a mark": b"\xef\xbb\xbf{}",
    }


def sealed(manifest: Any, files: Files) -> bytes:
    """A manifest of sums that agree: what somebody writes who means harm, not an accident."""
    tree = json.loads(json.dumps(manifest))
    tree.pop("sha256", None)
    for name, data in files.items():
        tree["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return signed(tree)


def signed(tree: Any) -> bytes:
    """Any tree, with its own sum where it can have one."""
    try:
        tree = json.loads(dumps(tree))
    except (ValueError, RecursionError):
        return encoded(dumps(tree))
    if isinstance(tree, dict):
        rest = {name: value for name, value in tree.items() if name != "sha256"}
        text = json.dumps(rest, sort_keys=True).encode("utf-8", "surrogatepass")
        tree = rest | {"sha256": hashlib.sha256(text).hexdigest()}
    return json.dumps(tree, indent=1).encode()


def split(tensors: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers of a safetensors file."""
    length = int.from_bytes(tensors[:8], "little")
    return json.loads(tensors[8 : 8 + length]), tensors[8 + length :]


def joined(header: bytes, numbers: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + numbers


def hostile_tensors(draw: random.Random, tensors: bytes) -> bytes:
    """A tensor file with a header, a length or numbers that do not fit one another."""
    header, numbers = split(tensors)
    if not header:
        return garbled(draw, tensors)
    entry = header[draw.choice(list(header))]
    length = None
    match draw.randrange(9):
        case 0:
            entry["dtype"] = draw.choice(DTYPES)
        case 1:
            shape = [0, 1, 3, 2**20, 2**31, 2**32, 2**62, 2**63, 2**64 - 1]
            entry["shape"] = [draw.choice(shape) for _ in range(draw.choice((0, 1, 2, 3, 70)))]
        case 2:
            ends = [0, 1, 4, len(numbers), len(numbers) + 1, 2**40, 2**63, 2**64 - 1]
            entry["data_offsets"] = [draw.choice(ends), draw.choice(ends)]
        case 3:
            header["__metadata__"] = nasty(draw)
        case 4:
            length = draw.choice((0, 1, 7, 10**8, 10**8 + 1, 2**31, 2**63, 2**64 - 1))
        case 5:
            numbers = draw.choice((b"", numbers[:-1], numbers + b"\0", numbers * 2))
        case 6:
            count = draw.choice((10, 300))
            header |= {str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                       for n in range(count)}  # fmt: skip
        case 7:
            return garbled(draw, tensors)
        case _:
            header = changed(draw, header)
    return joined(encoded(dumps(header)), numbers, length)


def hostile_checkpoint(
    draw: random.Random, whole: Files, foreign: Files, weights: tuple[int, ...] = (6, 3, 4, 4, 1, 1)
) -> tuple[str, Files]:
    """What was done, and the files of a checkpoint that is nearly ``whole``."""
    manifest = json.loads(whole[MANIFEST])
    files = dict(whole)
    parts = ("tensors", "state", "manifest", "bytes", "foreign", "missing")
    kind = draw.choices(parts, weights)[0]
    match kind:
        case "tensors":
            files[TENSORS] = hostile_tensors(draw, whole[TENSORS])
        case "state":
            files[STATE] = encoded(dumps(changed(draw, json.loads(whole[STATE]))))
        case "manifest":
            tree = changed(draw, manifest)
            files[MANIFEST] = signed(tree) if draw.random() < 0.8 else encoded(dumps(tree))
            return kind, files
        case "bytes":
            name = draw.choice(list(files))
            files[name] = garbled(draw, files[name])
            return kind, files
        case "foreign":
            files[draw.choice(list(files))] = draw.choice(list(foreign.values()))
        case _:
            files.pop(draw.choice(list(files)))
            files |= {"extra.pkl": foreign["pickle"]} if draw.random() < 0.5 else {}
    if MANIFEST in files and files[MANIFEST] == whole[MANIFEST]:
        present = {name: files[name] for name in (TENSORS, STATE) if name in files}
        files[MANIFEST] = sealed(manifest, present)
    return kind, files


def hostile_config(draw: random.Random, real: bytes, foreign: Files) -> tuple[str, bytes]:
    """What was done, and a ``config.json`` that is nearly ``real``, or nothing like it."""
    kind = draw.choices(("changed", "bytes", "random", "foreign"), (7, 2, 2, 1))[0]
    match kind:
        case "changed":
            return kind, encoded(dumps(changed(draw, json.loads(real))))
        case "bytes":
            return kind, garbled(draw, real)
        case "foreign":
            return kind, draw.choice(list(foreign.values()))
        case _:
            return kind, encoded(dumps(random_tree(draw, list(json.loads(real)), 4)))


def hostile_lines(draw: random.Random, real: bytes, foreign: Files) -> tuple[str, bytes]:
    """What was done, and a file of JSON lines that is nearly ``real``."""
    kind = draw.choices(("changed", "bytes", "foreign"), (6, 4, 1))[0]
    match kind:
        case "changed":
            lines = [json.loads(line) for line in real.splitlines()]
            at = draw.randrange(len(lines))
            lines[at] = changed(draw, lines[at])
            return kind, b"".join(encoded(dumps(line)) + b"\n" for line in lines)
        case "bytes":
            return kind, garbled(draw, real)
        case _:
            return kind, draw.choice(list(foreign.values())) + b"\n"


def random_tree(draw: random.Random, names: list[str], depth: int) -> Any:
    if depth == 0 or draw.random() < 0.3:
        return nasty(draw)
    count = draw.randrange(6)
    if draw.random() < 0.6:
        keys = [draw.choice(names) if draw.random() < 0.7 else str(n) for n in range(count)]
        return {key: random_tree(draw, names, depth - 1) for key in keys}
    return [random_tree(draw, names, depth - 1) for _ in range(count)]


def put(folder: Path, files: Files) -> None:
    """Write a checkpoint's files, in place of those that were there."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def bombs(whole: Files) -> dict[str, Callable[[], Files]]:
    """Checkpoints that are small to make and large to read, by what they do; sums agree."""
    manifest = json.loads(whole[MANIFEST])
    terabyte = {"bytes": 10**12 - 1, "sha256": "0" * 64}

    def with_tensors(tensors: bytes) -> Files:
        files = {TENSORS: tensors, STATE: whole[STATE]}
        return files | {MANIFEST: sealed(manifest, files)}

    def with_state(state: bytes) -> Files:
        files = {TENSORS: whole[TENSORS], STATE: state}
        return files | {MANIFEST: sealed(manifest, files)}

    def many_tensors(count: int) -> bytes:
        one = '"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
        return joined(("{" + ",".join(one % n for n in range(count)) + "}").encode(), b"")

    def many_files(count: int) -> bytes:
        return ('{"files": {' + ",".join(f'"{n}":{{}}' for n in range(count)) + "}}").encode()

    names = ", ".join(f'"{n}": 0' for n in range(8 * 10**4))
    return {
        "header of 90 MB": lambda: with_tensors(joined(b"{}".ljust(90 * 10**6), b"")),
        "header with 10^6 tensors": lambda: with_tensors(many_tensors(10**6)),
        "header with 10^5 tensors": lambda: with_tensors(many_tensors(10**5)),
        "header with 18,000 tensors": lambda: with_tensors(many_tensors(18_000)),
        "header nested 10^5 deep": lambda: with_tensors(
            joined(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}", b"")
        ),
        "state of 5,000,000 lists": lambda: with_state(b'{"a":[' + b"[]," * 5 * 10**6 + b"0]}"),
        "state nested 500,000 deep": lambda: with_state(b'{"a":' + b"[" * 5 * 10**5),
        "state of 300,000 lists": lambda: with_state(b'{"a":[' + b"[]," * 3 * 10**5 + b"0]}"),
        "state with 80,000 names, the last twice": lambda: with_state(
            ("{" + names + ', "79999": 1}').encode()
        ),
        "state of integers of 4,000 digits": lambda: with_state(
            b'{"a":[' + (b"9" * 4000 + b",") * 250 + b"0]}"
        ),
        "manifest with 80,000 names, the last twice": lambda: (
            whole | {MANIFEST: ("{" + names + ', "79999": 1}').encode()}
        ),
        "manifest of 10^6 files": lambda: whole | {MANIFEST: many_files(10**6)},
        "manifest that claims a terabyte": lambda: (
            whole
            | {MANIFEST: signed(manifest | {"files": manifest["files"] | {TENSORS: terabyte}})}
        ),
    }
