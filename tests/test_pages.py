"""Every block of Python in README.md and docs/ runs, page by page, with fewer steps.

(README.zh.md has those of README.md: ``test_docs_map.py``.)
The blocks of a page run one after the other in one module, as a reader would type them. What is
not run says why on the page: ``<!-- not run: reason -->`` above the block. Blocks with the title of
another library are not ours to run. ``BEFORE`` has what a page takes for granted, ``AFTER`` what
must be true once a block has run.
"""

import re
import sys
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import klamp
import klamp.lm
from klamp.config.algorithms import ALGORITHMS
from klamp.lm.training.train import train as train_tokens

ROOT = Path(__file__).parent.parent
FENCE = re.compile(
    r"(?:^<!-- not run: (.+?) -->\n+)?^```python(.*)\n((?:.*\n)*?)^```", re.MULTILINE
)
OF_OTHERS = 'title="Stable-Baselines3"'

SMALL: dict[str, Any] = {"steps": 192, "num_envs": 2, "rollout_length": 32}
ASKED: dict[str, Any] = {
    "steps": 384,
    "seeds": 2,
    "episodes": 2,
    "eval_interval": 64,
    "eval_episodes": 2,
    "stop_at_return": 1.0,
    "checkpoint_interval": 64,
    "recurrent_size": 4,
    "vectorization": "sync",
}
"""What a page asks for, where it asks for it."""

OWN_ENVIRONMENTS = """
import gymnasium, numpy as np
from gymnasium import spaces

class MyEnv(gymnasium.Env):
    observation_space, action_space = spaces.Box(0, 9, (1,), np.float32), spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(1, np.float32), {"action_mask": np.array([1, 1], np.int8)}
    def step(self, action):
        self.at += 1
        info = {"is_success": True, "action_mask": np.array([1, 0], np.int8)}
        return np.array([self.at], np.float32), float(action), self.at > 4, False, info

class Masked(MyEnv):
    def step(self, action):
        assert self.at == 0 or action == 0
        return super().step(action)

class MyWrapper(gymnasium.Wrapper):
    pass

observation = np.zeros(4, np.float32)
"""
A_NETWORK = """
from klamp.networks import build_network
from klamp import Settings

def build(observation_space, action_space, key):
    return build_network(observation_space, action_space, Settings(hidden_sizes=(4,)), key=key)
"""
A_BATCH = """
import jax.numpy as jnp
def policy(theta, inputs):
    return klamp.Categorical(inputs @ theta)
theta, seen = jnp.zeros((2, 3)), jnp.eye(2)
action, advantage = jnp.array([0, 1]), jnp.array([1.0, -1.0])
batch = klamp.Batch(seen, action, advantage, policy(theta, seen), jnp.ones(2), None, None)
"""
A_MODEL = """
from pathlib import Path
import jax, numpy as np
from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.networks.pretrained import Pretrained
from klamp.lm.tokens.tokenizer import SymbolTokenizer

decoder = random_decoder(DecoderConfig(13, 8, 1, 2, 1, 4, 12, context=32), jax.random.key(0))
own = Pretrained(decoder, SymbolTokenizer(tuple("0123456789+=")), form={"eos_token_id": 0})
own.save(Path("Qwen3-0.6B"))
Path("train.jsonl").write_text('{"prompt": "2+2=", "answer": "4"}')
tokens = np.zeros((1, 3), int)

def correct(prompts, completions, answer, **columns):
    return [float(said == right) for said, right in zip(completions, answer)]
"""
BEFORE: dict[tuple[str, int], str] = {
    ("README.md", 0): OWN_ENVIRONMENTS,
    ("README.md", 1): A_BATCH,
    ("README.md", 2): A_MODEL,
    ("language-models.md", 0): A_MODEL,
    ("coming-from-sb3.md", 0): OWN_ENVIRONMENTS + A_NETWORK,
}
AFTER: dict[tuple[str, int], str] = {
    ("README.md", 1): "assert int(report.outcome) == klamp.Outcome.ACCEPTED and report.kl <= 0.01",
    ("callbacks.md", 1): (
        "assert result.summary['stopped'] == 'the policy is sure of what it does'"
    ),
    ("callbacks.md", 2): (
        "assert all(0 <= line['right'] <= 1 for line in result.metrics)\n"
        "assert (result.folder / 'metrics.csv').exists()"
    ),
    ("callbacks.md", 3): "assert keep.step > 0 and isinstance(policy, klamp.TrainedPolicy)",
    ("callbacks.md", 4): (
        "assert result.summary['update'] == 1\nassert 'has reached 1' in result.summary['stopped']"
    ),
    ("custom-networks.md", 0): (
        "assert {line['outcome'] for line in result.metrics} <= {'ACCEPTED'}\n"
        "assert isinstance(policy, klamp.TrainedPolicy)"
    ),
    ("export.md", 2): "assert action in (0, 1) and set(outputs) > {'logits'}",
}
EARLIER = {"callbacks.md": ("< 0.6", "< 0.7")}
"""Thresholds that a longer run would come to."""


class Block(NamedTuple):
    why_not: str
    title: str
    source: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


PAGES = {
    path.relative_to(ROOT).as_posix().removeprefix("docs/"): path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if blocks(path)
}
SLOW = {
    "README.md",
    "callbacks.md",
    "coming-from-sb3.md",
    "custom-networks.md",
    "jax-environments.md",
    "language-models.md",
    "your-own.md",
}
"""Pages with many runs, or with programs that no other test has."""


def fewer(call: Any) -> Any:
    """``klamp.train`` and its kin, for few steps with small networks."""

    def called(env: Any, *rest: Any, **given: Any) -> Any:
        asked = {name: ASKED[name] for name in given if name in ASKED}
        if call.__name__ in ("train", "train_seeds"):
            algorithm = small(rest[0] if rest else given.pop("algorithm", "ppo"))
            network = {} if given.get("network") else {"hidden_sizes": (4,)}
            given |= asked | network | SMALL | {"quiet": True}
            # A page shows calls that each stand for themselves, in the folder of that name.
            given["overwrite"] = "out" not in given
            if "report" in given:
                given["report"] = installed(given["report"])
            return call(env, algorithm, **given)
        quiet = {} if call.__name__ in ("evaluate", "load") else {"quiet": True}
        return call(env, *rest, **given | asked | quiet)

    return called


def fewer_tokens(task: str, algorithm: Any, **given: Any) -> Any:
    """``klamp.lm.train``, for a few completions."""
    if not isinstance(algorithm, str):
        algorithm = replace(algorithm, epochs=2, minibatch_size=2)
    more = {"supervised_steps": 1} if task == "sort" else {"max_new_tokens": 4}
    few: dict[str, Any] = {"prompts": 2, "generations": 2, "steps": 16, "quiet": True}
    return train_tokens(task, algorithm, **given, **more, **few)


def small(algorithm: Any) -> Any:
    """The algorithm with two epochs of small minibatches."""
    chosen = ALGORITHMS[algorithm]() if isinstance(algorithm, str) else algorithm
    has = {item.name for item in fields(chosen)}
    wanted = {"epochs": 2, "minibatch_size": 32}
    return replace(chosen, **{name: wanted[name] for name in has & set(wanted)})


def installed(report: Any) -> Any:
    """Without the log that needs a package which is not there."""
    missing = "tensorboard" if find_spec("tensorboardX") is None else ""
    return [each for each in report if each != missing] if isinstance(report, list) else report


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.compiles] if name in SLOW else []) for name in PAGES],
)
def test_the_blocks_of_a_page_run(
    name: str, trained: klamp.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    if name == "export.md":
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "CartPole-v1-ppo-0").symlink_to(trained.folder)
    for function in ("train", "train_seeds", "resume", "evaluate"):
        monkeypatch.setattr(klamp, function, fewer(getattr(klamp, function)))
    monkeypatch.setattr(klamp.lm, "train", fewer_tokens)
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    before, after = EARLIER.get(name, ("", ""))
    for number, block in enumerate(blocks(PAGES[name])):
        exec(BEFORE.get((name, number), ""), vars(page))
        if not block.why_not and OF_OTHERS not in block.title:
            source = block.source.replace('if __name__ == "__main__":', "if True:")
            source = source.replace(before, after) if before else source
            exec(compile(source, f"{name}, block {number}", "exec"), vars(page))
        exec(AFTER.get((name, number), ""), vars(page))
    sys.modules.pop("numpy_policy", None)


def test_thirty_needs_of_stable_baselines3_are_answered_most_of_them_by_one_line() -> None:
    answers = [
        [line for line in block.source.splitlines() if line and not line.startswith("import")]
        for block in blocks(PAGES["coming-from-sb3.md"])
        if 'title="klamp"' in block.title
    ]
    assert len(answers) == 30
    assert sum(len(lines) == 1 for lines in answers) >= 20
