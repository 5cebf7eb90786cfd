"""Names of other libraries: each means one setting of ours, and none is a setting itself."""

from pathlib import Path

import pytest

from klamp.config.algorithms import ALGORITHMS
from klamp.config.dialects import ELSEWHERE, our_name
from klamp.config.presets import configure
from klamp.config.settings import Settings
from klamp.errors import ConfigError

OURS = {name for kind in (Settings, *ALGORITHMS.values()) for name in kind.__dataclass_fields__}
THEIRS = [name for names in ELSEWHERE.values() for name in names]


def test_each_name_means_one_setting() -> None:
    assert set(ELSEWHERE) <= OURS
    assert not set(THEIRS) & OURS
    assert len(THEIRS) == len(set(THEIRS))
    assert our_name("lr") == "learning_rate"
    assert our_name("steps") is None


@pytest.mark.parametrize("name", THEIRS)
def test_each_name_is_answered_with_ours(name: str) -> None:
    with pytest.raises(ConfigError, match=f"called `{our_name(name)}` here"):
        configure("CartPole-v1", "ppo", {name: 1})


def test_the_glossary_tells_the_same() -> None:
    """Each name of ours exists, and every name of others that it has is answered."""
    page = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()
    cells = [line.split("|")[1:] for line in page.splitlines() if line.startswith("| `")]
    table = {row[0].strip(" `"): {name.strip(" `") for name in row[2:5]} - {"–"} for row in cells}
    assert set(table) <= OURS
    for ours, theirs in table.items():
        # What is a setting of ours, too, needs no answer.
        assert theirs - OURS <= set(ELSEWHERE.get(ours, ())), ours
    assert set(ELSEWHERE) - set(table) == {"checkpoint_interval"}
