"""Rows of prompts: read, checked, and drawn in an order that needs no generator."""

import numpy as np
import pytest

from klamp.errors import ConfigError
from klamp.lm.environments.dataset import encoded_prompts, load_dataset

ROWS = [{"prompt": f"{n}+{n}=", "answer": 2 * n} for n in range(5)]
MESSAGES = [{"role": "user", "content": "hello"}]


def test_a_file_and_a_list_give_the_same_rows(tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(f'{{"prompt": "{n}+{n}=", "answer": {2 * n}}}' for n in range(5)))
    read, given = load_dataset(file), load_dataset(ROWS)
    assert read.rows == given.rows
    assert given.columns == ["answer"]
    assert given.prompts([3, 1]) == ["3+3=", "1+1="]
    assert given.column_values([3, 1]) == {"answer": [6, 2]}
    assert load_dataset([{"prompt": MESSAGES}]).prompts([0]) == [MESSAGES]


def test_each_epoch_visits_each_row_once_in_an_order_of_its_own() -> None:
    data = load_dataset(ROWS)
    epochs = data.drawn(7, 0, 100).reshape(20, 5)
    assert np.all(np.sort(epochs) == np.arange(5))
    assert len({tuple(epoch) for epoch in epochs}) > 5
    # Whoever goes on later, or in other portions, draws the same.
    parts = [data.drawn(7, start, 8) for start in range(0, 96, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), epochs.ravel()[:96])
    assert np.any(data.drawn(8, 0, 100) != epochs.ravel())
    assert data.drawn(7, 3, 0).shape == (0,)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no rows"),
        ([*ROWS, 7], "row 5 is 7; expected a mapping"),
        ([*ROWS, {"answer": 2}], "row 5 has no `prompt`, only"),
        ([*ROWS, {"prompt": 3, "answer": 2}], "row 5 has the prompt 3; expected a text"),
        ([*ROWS, {"prompt": [], "answer": 2}], r"row 5 has the prompt \[\]"),
        ([{"prompt": [{"role": "user"}]}], "row 0 has the prompt"),
        ([*ROWS, {"prompt": "2"}], "row 5 differs from the first row in its columns: answer"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(rows, words) -> None:
    with pytest.raises(ConfigError, match=words):
        load_dataset(rows)


def test_a_line_that_cannot_be_read_is_named(tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "1"}\n\n{"prompt": \n')
    with pytest.raises(ConfigError, match="line 3 cannot be read as JSON"):
        load_dataset(file)
    with pytest.raises(ConfigError, match=r"none\.jsonl is missing"):
        load_dataset(tmp_path / "none.jsonl")


def test_a_prompt_beyond_the_limit_is_named() -> None:
    data = load_dataset([{"prompt": "12"}, {"prompt": "12345"}])
    assert encoded_prompts(data, lambda text: [int(c) for c in text], 5) == [
        [1, 2],
        [1, 2, 3, 4, 5],
    ]
    with pytest.raises(ConfigError, match="row 1 has 5 tokens, but must have from 1 to 4"):
        encoded_prompts(data, lambda text: [int(c) for c in text], 4)
    with pytest.raises(ConfigError, match="row 0 has 0 tokens"):
        encoded_prompts(data, lambda _: [], 4)
