"""What a run is made of, from its configuration."""

from pathlib import Path

import jax
import numpy as np
import pytest
from lm.small_models import tiny_decoder

from klamp.errors import ConfigError
from klamp.lm.config import Configuration
from klamp.lm.pretrained import Pretrained
from klamp.lm.settings import Settings
from klamp.lm.setup import configured, lengths, start
from klamp.lm.sources import Sources
from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tokenizer import SymbolTokenizer

ROWS = [{"prompt": "ab"}, {"prompt": "cc"}]


def constant(completions: list) -> list[float]:
    return [1.0] * len(completions)


def test_the_lengths_of_a_task() -> None:
    assert lengths(TASKS["sort"]) == (13, 6)
    # Six guesses of one token, and five answers between them.
    assert lengths(TASKS["guess"]) == (12, 6)


def test_an_own_model_with_adapters(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    Pretrained(tiny_decoder(), SymbolTokenizer(tuple("abcdef"))).save(folder)
    sources = Sources(ROWS, (constant,))
    given = {"adapter_rank": 2, "max_new_tokens": 3, "max_prompt_tokens": 4, "prompts": 2}
    config = configured(str(folder), "ppo", given, sources)
    assert config.reward == (f"{__name__}:constant",)
    assert Configuration.from_dict(config.to_dict()) == config
    run = start(config, tmp_path / "run", sources)
    frozen = jax.tree.leaves(run.model.unravel_policy.frozen)
    assert sum(leaf.size for leaf in frozen) == sum(x.size for x in jax.tree.leaves(tiny_decoder()))
    # The adapters change nothing yet: the reference is the model as it came.
    tokens = np.asarray([[1, 2, 3]])
    decoder = run.policy(run.fresh_state()).decoder
    np.testing.assert_array_equal(decoder.logits(tokens), tiny_decoder().logits(tokens))
    policy = run.policy(run.fresh_state())
    assert policy.own_prompts(2) in (["ab", "cc"], ["cc", "ab"])
    assert len(policy.generate(["ab"])) == 1
    with pytest.raises(ConfigError, match=r"row 0 has 2 tokens.*max_prompt_tokens"):
        start(
            Configuration(config.task, config.algorithm, Settings(max_prompt_tokens=1)),
            tmp_path,
            sources,
        )
