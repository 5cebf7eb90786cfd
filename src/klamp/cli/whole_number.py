"""Whole numbers as people write them: 1000000, 1_000_000, 1e6, 1000k, 1M."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
"""The suffixes of whole numbers: `100k` is 100,000."""


def whole_number(word: str) -> int:
    """`1000000`, `1_000_000`, `1e6`, `1000k` or `1M`; ``ValueError`` where it is none of them."""
    number = r"([+-]?[\d_]+(?:\.\d*(?=[ekmg]))?(?:e\+?\d\d?)?)"
    match = re.fullmatch(number + "([kmg]?)", word.lower())
    if match is None:
        raise ValueError(word)
    # Decimal, since a float holds whole numbers up to 2⁵³ only.
    try:
        value = Decimal(match[1]) * UNITS[match[2]]
    except InvalidOperation as error:
        raise ValueError(word) from error
    if value != value.to_integral_value():
        raise ValueError(word)
    return int(value)


def whole_numbers() -> Any:
    """Have tyro read integers by ``whole_number``."""
    import tyro

    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: Any) -> Any:
        if info.type is not int:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=lambda words: whole_number(words[0]),
            is_instance=lambda value: isinstance(value, int),
            str_from_instance=lambda value: [str(value)],
        )

    return registry
