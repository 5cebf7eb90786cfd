"""Every error of ours is also the built-in that callers expect."""

import pytest

from klamp import errors


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.EnvironmentFault, RuntimeError),
        (errors.CheckpointError, RuntimeError),
        (errors.RunFolderError, FileExistsError),
        (errors.NonFiniteError, FloatingPointError),
    ],
)
def test_errors_are_of_both_families(ours: type, builtin: type) -> None:
    assert issubclass(ours, errors.KlampError)
    assert issubclass(ours, builtin)


def test_the_nearest_name_is_suggested() -> None:
    assert errors.closest("learning_rat", ["clip", "learning_rate"]) == (
        " Did you mean `learning_rate`?"
    )
    assert errors.closest("zzz", ["clip"]) == ""


def test_a_value_is_shown_on_one_line_and_no_longer_than_told() -> None:
    assert errors.shown(0.5) == "0.5"
    assert errors.shown("a\n\x1b") == "'a\\n\\x1b'"
    assert errors.shown("x" * 100, 10) == "'xxxxxxxxx…"
