"""Whole numbers as people write them."""

import pytest

from klamp.cli.whole_number import whole_number


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("1_000_000", 1_000_000),
        ("1e6", 1_000_000),
        ("2.5E+3", 2_500),
        ("100k", 100_000),
        ("1.5M", 1_500_000),
        ("2g", 2_000_000_000),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_whole_numbers_may_have_an_exponent_or_a_unit(word: str, value: int) -> None:
    assert whole_number(word) == value
    assert type(whole_number(word)) is int


@pytest.mark.parametrize(
    "word", ["", "k", "1.5", "2.0", "2.55e1", "1e-3", "1e400", "10kb", "1,000", "nan"]
)
def test_what_is_no_whole_number_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        whole_number(word)
