"""What is said of a log whose package is missing."""

from klamp.reporting.reporter import missing_package


def test_a_missing_package_is_named_with_its_extra() -> None:
    said = str(missing_package("tensorboardX", "tensorboard"))
    assert "the package `tensorboardX`, which is not installed" in said
    assert "`pip install '.[tensorboard]'`" in said
    assert "\n" not in said
