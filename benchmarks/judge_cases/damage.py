"""Files of a run that were damaged, or made by somebody who means ill."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import recorded
from case import Case, Promise, klamp, must, must_be_plain, must_be_refused, must_succeed, tail

TRAIN = (  # noqa: SIM905
    "train CartPole-v1 --num-envs 2 --rollout-length 50 --hidden-sizes 4 --steps 600 "
    "--minibatch-size 25 --epochs 2 --checkpoint-interval 200 --out base"
).split()
COMMANDS = {
    "eval": ("eval", "run", "--episodes", "2"),
    "resume": ("resume", "run", "--steps", "800"),
    "compare": ("compare", "run"),
}
ESCAPES = "\x1b]0;owned\x07\x1b[2J[bold]\u202e\r\nforged | 500"
IN_CHECKPOINT = ("tensors.safetensors", "state.json", "MANIFEST.json")


def judge(case: Case) -> str:
    """One run, damaged some times in turn."""
    must_succeed(klamp(case, *TRAIN), "train")
    said, whole = [], {}
    words = [str(word) for word in case.rng.permutation(list(COMMANDS))[:2]]
    for word in words:
        copy(case)
        whole[word] = outcome(case, word)
        must(whole[word][0].code == 0, f"{word}: {tail(whole[word][0].err)}")
    for _ in range(4):
        word = case.choose(words)
        copy(case)
        path, what = spoil(case, case.folder / "run")
        case.spoil(path)
        ended, result = outcome(case, word)
        text = f"{word}, {path.relative_to(case.folder / 'run')}: {what}"
        said.append(text)
        judged(path, text, ended, whole[word][1], result)
    return "; ".join(said)


def copy(case: Case) -> None:
    """A fresh copy of the run."""
    shutil.rmtree(case.folder / "run", ignore_errors=True)
    shutil.copytree(case.folder / "base", case.folder / "run", symlinks=True)


def outcome(case: Case, word: str) -> tuple[Any, Any]:
    """A command, and what it came to: numbers only, for times differ."""
    ended = klamp(case, *COMMANDS[word], limit_s=60)
    if word != "resume" or ended.code != 0:
        kept = [line for line in ended.out.splitlines() if "steps/s" not in line]
        return ended, kept
    last = max((case.folder / "run" / "checkpoints").iterdir())
    return ended, (last.name, (last / "tensors.safetensors").read_bytes())


def judged(path: Path, text: str, ended: Any, expected: Any, result: Any) -> None:
    """Refused in one paragraph, or the very result of the run that is whole."""
    must_be_plain(ended, text)
    if ended.code != 0:
        must_be_refused(ended, text)
        return
    if path.name in ("config.json", "metrics.jsonl", "summary.json"):
        return  # no sums: what they say may be another thing, if it is well said
    told = path.name in ended.err or path.parent.name in ended.err
    must(told or result == expected, f"{text}: another result, without a word")


def spoil(case: Case, run: Path) -> tuple[Path, str]:  # noqa: PLR0911 - one a kind
    """Damage one file of a run."""
    rng = case.rng
    last = max((run / "checkpoints").iterdir())
    files = [last / name for name in IN_CHECKPOINT] * 2
    files += [run / name for name in ("config.json", "metrics.jsonl", "summary.json")]
    path: Path = case.choose(files)
    match case.choose(("bit", "bit", "cut", "more", "empty", "kind", "text", "text", "folder")):
        case "bit":
            data = bytearray(path.read_bytes())
            at = int(rng.integers(len(data)))
            data[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(data)
            return path, f"bit of byte {at}"
        case "cut":
            size = int(rng.integers(path.stat().st_size))
            os.truncate(path, size)
            return path, f"cut to {size} bytes"
        case "more":
            added = case.choose((b"\0", b"x" * 999, b"\n{}\n", b"\xff\xfe"))
            path.write_bytes(path.read_bytes() + added)
            return path, f"{added[:4]!r} at its end"
        case "empty":
            path.write_bytes(b"")
            return path, "empty"
        case "kind":
            return other_kind(case, path)
        case "text":
            return hostile_text(case, path)
    moved = run / "elsewhere"
    last.rename(moved)
    last.symlink_to(moved)
    return last / IN_CHECKPOINT[0], "its folder is a link"


def other_kind(case: Case, path: Path) -> tuple[Path, str]:
    """Something that is no file."""
    kept = path.read_bytes()
    path.unlink()
    match case.choose(("fifo", "folder", "link", "device", "nothing")):
        case "fifo":
            os.mkfifo(path)
            return path, "a fifo"
        case "folder":
            path.mkdir()
            return path, "a folder"
        case "link":
            (case.folder / "outside").write_bytes(kept)
            path.symlink_to(case.folder / "outside")
            return path, "a link to what it was"
        case "device":
            path.symlink_to("/dev/zero")
            return path, "a link to /dev/zero"
    return path, "missing"


def hostile_text(case: Case, path: Path) -> tuple[Path, str]:
    """JSON that means ill."""
    if path.suffix not in (".json", ".jsonl"):
        path.write_bytes(
            case.choose((b"\x80\x04\x95", b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF\r\n"))
        )
        return path, "the first bytes of another format"
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    data = json.loads(lines[-1])
    often = [key for key in ("env", "algo", "step", "kl", "return_mean") if key in data]
    key = case.choose(often if often and case.chance(0.6) else data)
    bad = case.choose(
        (ESCAPES, 10**308, -(10**308), 10**400, 1.7e308, -1.7e308, None, [], {}, True, "x" * 10**6)
    )
    if case.chance(0.2):
        key = f"{key}{ESCAPES}"
    lines[-1] = json.dumps(data | {key: bad})
    if case.chance(0.1):
        lines[-1] = "[" * 100_000
    if case.chance(0.1):
        lines[-1] = json.dumps(data).replace("{", '{"step": NaN, ', 1)
    path.write_text("\n".join(lines) + "\n" * (path.suffix == ".jsonl"))
    return path, f"{key!r:.40}: {bad!r:.40}"


def _agreeing(path: Path) -> None:
    """Damage that the sums agree with, so that it is loaded in silence."""
    from safetensors.numpy import load_file, save_file

    folders = (
        path.parents[1] if path.parents[1].name == "checkpoints" else path.parent / "checkpoints"
    )
    if not folders.is_dir():
        return
    folder = max(p for p in folders.iterdir() if p.is_dir() and not p.is_symlink())
    whole = folders.parents[1] / "base" / "checkpoints" / folder.name
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    if path.is_symlink() or not path.parent.is_dir():
        return
    arrays = load_file(folder / "tensors.safetensors")
    theta = arrays["['state'].theta"]
    arrays["['state'].theta"] = np.roll(theta, 3)
    save_file(arrays, folder / "tensors.safetensors")
    recorded.sign(folder)


PROMISE = Promise(
    name="damage",
    says="damaged or hostile files give exit code 2 and one paragraph that does nothing to a "
    "terminal, or the very result of the whole run; never another one, never a hang",
    judge=judge,
    plants={"damage that is loaded in silence": _agreeing},
    share=2,
    limit_s=300,
    quick=True,
)
