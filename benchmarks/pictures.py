"""The pictures of the README: a trained policy that moves, and how it learnt.

    pip install '.[mujoco,video]' matplotlib
    klamp train HalfCheetah-v5 --algo trpo --eval-interval 50_000 --eval-episodes 3
    klamp eval runs/HalfCheetah-v5-trpo-0 --episodes 1 --video cheetah.mp4
    python benchmarks/pictures.py runs/HalfCheetah-v5-trpo-0 cheetah.mp4

Of the film, some seconds are kept, smaller, as an animated WebP. The curves are the lines of
`metrics.jsonl`. Both go to `docs/`.
"""

import argparse
import io
from itertools import islice
from pathlib import Path

import imageio.v2 as imageio
import matplotlib as mpl
import matplotlib.pyplot as plt
from PIL import Image

from klamp.runs.folder import read_config
from klamp.runs.metrics_log import read_metrics

DOCS = Path(__file__).resolve().parent.parent / "docs"
LARGEST = 1_500_000
"""Bytes that a picture of the README may have."""
BLUE, RED, FAINT = "#1f5fd0", "#d03a2b", "#5b6470"


def moving(film: Path, target: Path, width: int, first: float, seconds: float) -> None:
    """Some seconds of a film."""
    with imageio.get_reader(film) as reader:
        rate = float(reader.get_meta_data()["fps"])
        begin, end = round(first * rate), round((first + seconds) * rate)
        pictures = [Image.fromarray(each) for each in islice(reader, begin, end)]
    size = (width, round(width * pictures[0].height / pictures[0].width))
    small = [each.resize(size, Image.Resampling.LANCZOS) for each in pictures]
    drawn = io.BytesIO()
    small[0].save(
        drawn, "WEBP", save_all=True, append_images=small[1:], duration=round(1000 / rate),
        loop=0, quality=60, method=6,
    )  # fmt: skip
    assert len(drawn.getvalue()) <= LARGEST
    target.write_bytes(drawn.getvalue())
    print(f"{target}: {len(small)} pictures, {target.stat().st_size:,} bytes")


def curves(folder: Path, target: Path) -> None:
    """Return, and KL beside its bound, over the environment steps."""
    lines = read_metrics(folder / "metrics.jsonl")
    config = read_config(folder)
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.7), layout="constrained")
    told = [line for line in lines if line["return_mean"] is not None]
    left.plot([line["step"] for line in told], [line["return_mean"] for line in told], color=BLUE)
    tried = [line for line in lines if "eval_return_mean" in line]
    if tried:
        where = [line["step"] for line in tried], [line["eval_return_mean"] for line in tried]
        left.plot(*where, "o", color=RED, markersize=3)
        left.legend(["last 100 training episodes", "evaluation, most probable actions"])
    left.set(ylabel="return", xlabel="environment steps")
    right.plot([line["step"] for line in lines], [line["kl"] for line in lines], color=BLUE, lw=0.8)
    bound = getattr(config.algorithm, "max_kl", None)
    if bound is not None:
        right.axhline(bound, color=FAINT, linestyle="--", linewidth=1)
        right.annotate(f"δ = {bound:g}", (lines[-1]["step"], bound), ha="right", va="bottom")
        right.set_ylim(0, 1.15 * bound)
    right.set(ylabel="KL of each update, nats", xlabel="environment steps")
    for axes in (left, right):
        axes.grid(color="#e3e6ea", linewidth=0.6)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step / 1e6:g} M" if step else "0")
        axes.legend_ and axes.legend_.set_frame_on(False)
    figure.savefig(target, dpi=150)
    print(f"{target}: {target.stat().st_size:,} bytes, from {lines[-1]['step']:,} steps")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("film", type=Path)
    parser.add_argument("--width", type=int, default=280)
    parser.add_argument("--first", type=float, default=1.0, help="second at which it begins")
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    moving(given.film, DOCS / "cheetah.webp", given.width, given.first, given.seconds)
    curves(given.run, DOCS / "learning-curve.png")


if __name__ == "__main__":
    main()
