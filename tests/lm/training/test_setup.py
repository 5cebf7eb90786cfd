"""What a run is made of, from its configuration."""

from pathlib import Path

import jax
import numpy as np
import pytest
from joined_threads import in_each, joined_threads
from lm.small_models import tiny_decoder

from klamp.errors import ConfigError
from klamp.lm.config.run import Configuration
from klamp.lm.config.settings import Settings
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.pretrained import Pretrained
from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tokens.tokenizer import SymbolTokenizer
from klamp.lm.training import setup as module
from klamp.lm.training.setup import BASE, configured, lengths, start
from klamp.lm.training.sources import Sources
from klamp.runtime.joined import Joined

ROWS = [{"prompt": "ab"}, {"prompt": "cc"}]


def constant(completions: list) -> list[float]:
    return [1.0] * len(completions)


def test_the_lengths_of_a_task() -> None:
    assert lengths(TASKS["sort"]) == (13, 6)
    # Six guesses of one token, and five answers between them.
    assert lengths(TASKS["guess"]) == (12, 6)


@pytest.mark.compiles
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


def test_process_0_makes_the_model_that_all_processes_begin_with(tmp_path, monkeypatch) -> None:
    """The others write nothing, and need no folder to read."""
    made: list[str] = []

    def warm_started(drawn: Decoder, *parts: object) -> Decoder:
        made.append("here")
        return jax.tree.map(lambda leaf: leaf + 1, drawn)

    monkeypatch.setattr(module, "_warm_started", warm_started)
    config = configured("sort", "ppo", {"prompts": 4, "shards": 2}, Sources())
    (tmp_path / "0").mkdir()

    def begun(each: Joined) -> np.ndarray:
        run = start(config, tmp_path / str(each.index), Sources(), each)
        run.agree(run.fresh_state())
        return np.asarray(run.theta)

    for times in (1, 2):
        joined = joined_threads(2)
        one, other = in_each(joined, begun)
        np.testing.assert_array_equal(one, other)
        assert [path.name for path in tmp_path.glob("*/*")] == [BASE]
        for each in joined:
            each.watch.leave()
        # The second time it is read from the run's folder.
        assert len(made) == 1, times
    kept = start(config, tmp_path / "0", Sources()).theta
    np.testing.assert_array_equal(kept, one)
