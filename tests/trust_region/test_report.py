from klamp import Outcome


def test_the_values_of_the_outcomes_are_part_of_every_metrics_file():
    assert {outcome.name: int(outcome) for outcome in Outcome} == {
        "ACCEPTED": 0,
        "ZERO_GRADIENT": 1,
        "NONPOSITIVE_CURVATURE": 2,
        "LINE_SEARCH_EXHAUSTED": 3,
        "NON_FINITE": 4,
        "PROJECTED": 5,
    }
