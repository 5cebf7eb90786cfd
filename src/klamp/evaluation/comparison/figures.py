"""Numbers as text, and round numbers for an axis."""

import numpy as np

NONE = "–"
"""The text of a missing value."""

_STEPS = ((1, 2**0.5), (2, 10**0.5), (5, 50**0.5), (10, np.inf))

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def figure(value: float | None, form: str = ",.1f") -> str:
    """A number in a cell; a wide one in scientific notation."""
    if value is None or np.isnan(value):
        return NONE
    return format(float(value), form if abs(value) < 1e9 else ".3e")


def count(value: float) -> str:
    """Steps; a dash for infinitely many."""
    return figure(value, ",.0f") if np.isfinite(value) else NONE


def between(interval: tuple[float, float] | None, form: str = ",.1f") -> str:
    """An interval in a cell."""
    return NONE if interval is None else " … ".join(figure(end, form) for end in interval)


def share(value: float) -> str:
    """A probability as a percentage, with two digits at least."""
    return f"{100 * value:.{1 if 0 < value < 0.1 else 0}f} %"


def duration(seconds: float) -> str:
    """A time in its two largest units."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes} min {left:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def round_ticks(low: float, high: float, about: int) -> np.ndarray:
    """About so many multiples of 1, 2 or 5 times a power of ten within an interval.

    Heckbert 1990, "Nice numbers for graph labels" (Graphics Gems). None where the interval is
    narrower than floats can be told apart.
    """
    rough = (high - low) / max(about, 1)
    if not rough > abs(low) * 1e-12 + 1e-300:
        return np.zeros(0)
    power = 10.0 ** np.floor(np.log10(rough))
    # The step whose logarithm is nearest.
    step = power * next(m for m, until in _STEPS if rough / power <= until)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return np.arange(first, last + 0.5) * step


def tick_labels(ticks: np.ndarray) -> list[str]:
    """Ticks in one unit and with as many digits as tell them apart: 0, 50k, 100k."""
    if not len(ticks):
        return []
    largest = float(np.max(np.abs(ticks)))
    step = float(ticks[1] - ticks[0]) if len(ticks) > 1 else largest
    if largest >= 1e12 or 0 < largest < 1e-4:
        return [f"{tick:.3g}" for tick in ticks]
    size, unit = next((u for u in UNITS if largest >= 10 * u[0] or largest == u[0]), (1.0, ""))
    digits = max(0, -int(np.floor(np.log10(step / size) + 1e-9))) if step else 0
    # A tick at zero is zero, whatever rounding made of it.
    near = [0.0 if abs(tick) < step / 2 else tick / size for tick in ticks]
    return [f"{tick:.{min(digits, 6)}f}{unit if tick else ''}" for tick in near]
