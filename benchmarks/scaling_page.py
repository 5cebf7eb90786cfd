"""The model of `scaling.py`, its page and its picture."""

import math
import statistics
from pathlib import Path
from typing import Any

import scaling

PROCESSES = (2, 4, 16, 64, 256, 1024)
SIZES = (10**4, 10**5, 10**6, 10**7, 10**8)
OF_THETA = 64
"""Vectors of at least so many numbers grow with θ; the others are single numbers."""

Link = tuple[float, float, float]
"""Seconds over two processes: of a sum of one number, until one of a vector starts, per number."""


def fitted(measured: list[list[float]]) -> Link:
    """A single number goes in one message, a vector in two, one after the other."""
    (_, single), *vectors = sorted(measured)
    return (single, *scaling.fit(vectors))


def links(found: dict[str, Any]) -> dict[str, Link]:
    """By measurement, for two processes."""
    return {how: fitted(found["sums"][f"2|{how}"]) for how in scaling.LINKS}


def in_a_ring(link: Link, processes: int, length: float) -> float:
    """Seconds of a sum over so many, as Gloo makes it."""
    return _sum(link, processes, length, processes - 1)


def by_halves(link: Link, processes: int, length: float) -> float:
    """Seconds of a sum by halving and doubling, which Gloo has but JAX does not ask for."""
    return _sum(link, processes, length, math.log2(processes))


def _sum(link: Link, processes: int, length: float, rounds: float) -> float:
    single, start, rate = link
    if length < OF_THETA:
        return single * rounds
    return start * rounds + rate * 2 * (processes - 1) / processes * length


def communication(
    counts: dict[str, int], link: Link, processes: int, theta: float = 0, way: Any = in_a_ring
) -> float:
    """Seconds of all sums of an update; with ``theta`` given, of a network of that size."""
    largest = max(map(int, counts))
    total = 0.0
    for text, number in counts.items():
        length = float(text)
        if theta and length >= OF_THETA:
            length *= theta / largest
        total += number * way(link, processes, length)
    return total


def computing(found: dict[str, Any], name: str) -> tuple[float, float]:
    """(a, c): seconds of an iteration of one process are a + c·|θ|, from the two widths."""
    points: list[tuple[int, float]] = []
    for width in scaling.WIDTHS:
        size = max(map(int, found["counts"][f"{name}|{width}"]))
        points.append((size, statistics.median(found["updates"][f"{name}|{width}"]["1"])))
    (small, first), (large, last) = points
    slope = max((last - first) / (large - small), 0.0)
    return first - slope * small, slope


def whole(found: dict[str, Any], name: str, link: Link, processes: int, theta: float) -> float:
    """Seconds of an iteration where each process has 2,048 steps, and minibatches grow with P."""
    base, slope = computing(found, name)
    counts = found["counts"][f"{name}|{scaling.WIDTHS[0]}"]
    return base + slope * theta + communication(counts, link, processes, theta)


def page(found: dict[str, Any], about: str) -> str:
    """`results/scaling.md`."""
    parts = [_sums(found), _counts(found), _checked(found), _predicted(found), _first(found)]
    title = "# What many processes would do\n\n`python benchmarks/scaling.py`."
    return "\n\n".join([title, *parts, about, ""])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _called(name: str) -> str:
    return f"{scaling.steps_of(name):,} steps: {name}" if name in scaling.LARGE else name


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f}" if seconds < 0.1 else f"{1e3 * seconds:,.0f}"


def _sums(found: dict[str, Any]) -> str:
    head = ["link", *(f"{length:,}" for length in scaling.LENGTHS), "start, ms", "Gbit/s"]
    rows: list[list[str]] = []
    for key, measured in found["sums"].items():
        count, how = key.split("|")
        times = {int(length): took for length, took in measured}
        _, start, rate = fitted(measured)
        speed = f"{32 / rate / 1e9:.2f}" if rate else ""
        cells = [_ms(times[length]) if length in times else "" for length in scaling.LENGTHS]
        rows.append([f"{how}, {count} processes", *cells, _ms(start), speed])
    return (
        "## One sum over processes, ms, by the length of its vector\n\n"
        "A process per core where there are enough; a link's delay is in one direction, its "
        "bandwidth in each.\n\n" + _table(head, rows)
    )


def _counts(found: dict[str, Any]) -> str:
    head = ["update of HalfCheetah, 64×64", "sums of single numbers", "sums of vectors", "MB"]
    rows: list[list[str]] = []
    for name in (*scaling.ALGORITHMS, *scaling.LARGE):
        counts = found["counts"][f"{name}|{scaling.WIDTHS[0]}"]
        vectors = {int(k): v for k, v in counts.items() if int(k) >= OF_THETA}
        singles = sum(v for k, v in counts.items() if int(k) < OF_THETA)
        volume = sum(4 * length * number for length, number in vectors.items()) / 1e6
        rows.append([_called(name), f"{singles:,}", f"{sum(vectors.values()):,}", f"{volume:.1f}"])
    return "## Sums of an update, from the compiled program\n\n" + _table(head, rows)


def _checked(found: dict[str, Any]) -> str:
    head = [
        "iteration of 2,048 steps, or as stated",
        *("1 process, ms", "2, ms", "times as fast", "2, predicted", "error"),
    ]
    rows: list[list[str]] = []
    for name in (*scaling.ALGORITHMS, *scaling.LARGE):
        for width in scaling.WIDTHS:
            measured = found["updates"].get(f"{name}|{width}")
            if measured is None:
                continue
            one, two = (statistics.median(measured[count]) for count in ("1", "2"))
            ratios = sorted(a / b for a, b in zip(measured["1"], measured["2"], strict=True))
            faster = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            sums = communication(found["counts"][f"{name}|{width}"], links(found)["loopback"], 2)
            expected = one / 2 + sums
            error = f"{100 * (expected / two - 1):+.0f} %"
            cells = [_ms(one), _ms(two), faster, _ms(expected), error]
            rows.append([f"{_called(name)}, {width}×{width}", *cells])
    return (
        "## The model against two processes on two cores\n\nHalf of the time of one process, and "
        "the sums over the loopback. One process has one core; they take turns. What the model "
        "does not know: a step of four environments takes more than half of a step of eight.\n\n"
        + _table(head, rows)
        + _apart(found)
    )


def _apart(found: dict[str, Any]) -> str:
    """What two runs that share nothing but the machine make together."""
    ((key, measured),) = found["apart"].items()
    ratios = sorted(alone / one + alone / other for alone, one, other in measured)
    name, _, width = key.partition("|")
    return (
        f"\n\nTwo runs that have nothing to do with each other, one per core ({_called(name)}, "
        f"{width}×{width}), make together {statistics.median(ratios):.2f} times "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}) what one makes alone: the most that two processes "
        "of one run could."
    )


def _predicted(found: dict[str, Any]) -> str:
    parts = [
        "## What is predicted\n\nEach process collects 2,048 steps per iteration; minibatches grow "
        "with the number of processes, so that the number of sums stays. Seconds per iteration, "
        "and in brackets the share of them in which is computed."
    ]
    for how in ("0.1 ms, 1 Gbit/s", "10 ms, 1 Gbit/s"):
        head = [
            "",
            *(f"{name}, {count:,} processes" for name in ("PPO", "TRPO") for count in (64, 1024)),
        ]
        rows: list[list[str]] = []
        for theta in SIZES:
            cells: list[str] = []
            for name in ("PPO", "TRPO"):
                for count in (64, 1024):
                    took = whole(found, name, links(found)[how], count, theta)
                    alone = took - communication(
                        found["counts"][f"{name}|64"], links(found)[how], count, theta
                    )
                    cells.append(f"{took:,.2f} ({100 * alone / took:.0f} %)")
            rows.append([f"θ of 10{_exponent(theta)} numbers", *cells])
        parts.append(f"{how}:\n\n" + _table(head, rows))
    parts.append(_crossing(found))
    return "\n\n".join(parts)


def _exponent(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(round(math.log10(number))))


def _crossing(found: dict[str, Any]) -> str:
    """The number of processes from which TRPO's iteration takes less time than PPO's."""
    head = ["link", *(f"10{_exponent(theta)}" for theta in SIZES)]
    names = (
        ("PPO", "TRPO"),
        ("PPO", "TRPO, critic's minibatches of 512"),
        ("PPO, minibatches of 512", "TRPO, critic's minibatches of 512"),
    )
    texts: list[str] = []
    for ppo, trpo in names:
        rows: list[list[str]] = []
        for how, link in links(found).items():
            cells: list[str] = []
            for theta in SIZES:
                below = [
                    count
                    for count in (1, *PROCESSES)
                    if whole(found, trpo, link, max(count, 1), theta)
                    < whole(found, ppo, link, max(count, 1), theta)
                ]
                cells.append(str(below[0]) if below else "–")
            rows.append([how, *cells])
        texts.append(f"{trpo} beside {ppo}:\n\n" + _table(head, rows))
    return (
        "The number of processes (of 1, 2, 4, 16, 64, 256, 1,024) from which on TRPO's iteration "
        "is the shorter one, by the numbers in θ:\n\n" + "\n\n".join(texts)
    )


def _first(found: dict[str, Any]) -> str:
    """What each change would be worth."""
    link, count, theta = links(found)["0.1 ms, 1 Gbit/s"], 64, 10**6
    rows: list[list[str]] = []
    for name in ("PPO", "TRPO"):
        counts = found["counts"][f"{name}|64"]
        now = communication(counts, link, count, theta)
        halves = communication(counts, link, count, theta, by_halves)
        other = next(key for key in scaling.ALGORITHMS if key.startswith(f"{name},"))
        fewer = found["counts"][f"{other}|64"]
        compressed = communication(counts, (*link[:2], link[2] / 2), count, theta)
        larger = communication(fewer, link, count, theta)
        rows.append([name, *(f"{value:,.2f}" for value in (now, halves, larger, compressed))])
    head = ["", "as it is", "halving and doubling", "minibatches of 512", "sums in 16 bits"]
    return (
        "## What would be changed first\n\nSeconds of communication per iteration, 64 processes, "
        "0.1 ms and 1 Gbit/s, θ of 10⁶ numbers:\n\n" + _table(head, rows)
    )


def draw(found: dict[str, Any], path: Path) -> None:
    """Efficiency by the number of processes, for two links and two sizes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, how in zip(axes, ("0.1 ms, 1 Gbit/s", "10 ms, 1 Gbit/s"), strict=True):
        link = links(found)[how]
        for name, color in zip(scaling.ALGORITHMS, ("C0", "C1", "C2", "C3"), strict=True):
            for theta, style in ((10**4, "-"), (10**7, "--")):
                base, slope = computing(found, name)
                alone = base + slope * theta
                share = [100 * alone / whole(found, name, link, c, theta) for c in PROCESSES]
                label = f"{name}, θ of 10{_exponent(theta)}"
                axis.plot(PROCESSES, share, style, color=color, marker="o", label=label)
        axis.set(xscale="log", title=how, xlabel="processes, 2,048 steps each")
        axis.set_xticks(PROCESSES, [f"{count:,}" for count in PROCESSES])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of the time in which is computed, %")
    axes[1].legend(fontsize=7, handlelength=4)
    figure.savefig(path, dpi=110)
    plt.close(figure)
