"""A name leads to the code that it was taken from, or says that it does not."""

from functools import partial
from pathlib import Path

import pytest
from own_environments import Line, made

from klamp.config.environment_name import can_be_imported
from klamp.errors import EnvironmentFault
from klamp.runtime.qualified_name import find_code, qualified_name


@pytest.mark.parametrize("code", [Line, made, Path])
def test_a_name_leads_back(code: object) -> None:
    name = qualified_name(code)
    assert can_be_imported(name)
    assert find_code(name, "environment") is code


@pytest.mark.parametrize("code", [lambda: Line(3), partial(Line, 3), type("Line", (Line,), {})])
def test_what_no_name_leads_to_says_so(code: object) -> None:
    assert not can_be_imported(qualified_name(code))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Line", "needs the module `no_such_module`"),
        ("own_environments:Doubld", "nothing callable .* `Doubld`. Did you mean `Doubled`"),
        ("own_environments:Line.metadata", "nothing callable"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        find_code(name, "environment")
