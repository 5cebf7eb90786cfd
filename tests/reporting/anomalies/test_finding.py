"""Findings have a place among each other."""

import pytest

from klamp.reporting.anomalies.finding import RANKS, finding


def test_a_finding_has_the_rank_of_its_name() -> None:
    for rank, name in enumerate(RANKS):
        assert finding(name, "a", "b", "c").rank == rank
    with pytest.raises(ValueError, match="not in tuple"):
        finding("no-such", "a", "b", "c")
