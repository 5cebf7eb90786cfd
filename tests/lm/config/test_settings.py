"""The settings of language-model runs are checked when made."""

import pytest

from klamp.errors import ConfigError
from klamp.lm.config.settings import GROUPS, Settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"advantage": "group"}, "`generations` of Settings is 1"),
        ({"redraw_groups": 2}, "`redraw_groups` of Settings is 2"),
        ({"reference_target": 0.1}, "`reference_coefficient` of Settings is 0.0"),
        ({"temperature": 0}, "`temperature` of Settings is 0"),
        ({"aggregation": "mean"}, "must be one of 'token', 'sequence', 'constant'"),
        ({"steps": 0}, "`steps` of Settings is 0"),
        (
            {"prompts": 6, "shards": 4},
            "`shards` of Settings is 4, but must be a divisor of prompts",
        ),
    ],
)
def test_what_cannot_work_is_said(given: dict, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Settings(**given)
    assert said in str(raised.value)


def test_every_setting_is_in_one_group() -> None:
    names = [name for kind in GROUPS.values() for name in kind.__dataclass_fields__]
    assert sorted(names) == sorted(Settings.__dataclass_fields__)
    chosen = Settings(prompts=3, generations=4, advantage="leave-one-out", steps=100)
    assert (chosen.completions, chosen.critic, chosen.progress(50)) == (12, False, 0.5)
