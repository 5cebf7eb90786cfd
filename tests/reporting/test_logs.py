"""The logs that have a name."""

import pytest

from klamp.errors import ConfigError
from klamp.reporting.csv import CsvLog
from klamp.reporting.logs import LOGS, log_of


def test_a_log_by_its_name() -> None:
    assert isinstance(log_of("csv"), CsvLog)
    assert log_of("csv") is not log_of("csv")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no log `tensorbord`. Did you mean `tensorboard`\?"
    ) as e:
        log_of("tensorbord")
    assert all(name in str(e.value) for name in LOGS)
