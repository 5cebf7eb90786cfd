"""Each choice is the type of a setting, whose help lists its words."""

from dataclasses import fields
from typing import get_args

from klamp import Settings
from klamp.config import choices


def test_every_choice_belongs_to_a_setting_whose_default_is_one_of_its_words() -> None:
    words = {name: get_args(kind) for name, kind in vars(choices).items() if get_args(kind)}
    used = [item for item in fields(Settings) if get_args(item.type) in words.values()]
    assert len(used) == len(words) == 8
    for item in used:
        assert item.default in get_args(item.type)
