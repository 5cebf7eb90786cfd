"""Language models: every update of a random decoder, from its files and its rewards, in float64."""

import json
from dataclasses import dataclass, field
from typing import Any

import broken_language
import numpy as np
from case import Case, Promise, agree, must, read_metrics
from numpy_decoder import NumpyDecoder, read_decoder, write_random

GROUPS = {
    "grpo": ("group", "sequence"),
    "dr-grpo": ("group-mean", "constant"),
    "rloo": ("leave-one-out", "token"),
    "dapo": ("group", "token"),
    "gspo": ("group", "sequence"),
    "cispo": ("group", "token"),
}
"""Presets without a critic: baseline and aggregation."""
BOUNDED = (*GROUPS, "ppo", "trpo")


@dataclass
class Seen:
    """What the reward function was shown, one entry for each call, and what it answered."""

    letters: str
    answers: Any
    """A generator of random numbers."""
    sequences: list[list[tuple[list[int], list[int]]]] = field(default_factory=list)
    rewards: list[np.ndarray] = field(default_factory=list)

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]]
    ) -> list[float]:
        """Random rewards, some of them all alike."""
        ids = [[self.letters.index(letter) + 1 for letter in prompt] for prompt in prompts]
        self.sequences.append(list(zip(ids, completion_ids, strict=True)))
        drawn = self.answers.choice([0.0, 0.25, 1.0], size=len(prompts), p=[0.6, 0.2, 0.2])
        self.rewards.append(drawn)
        return drawn.tolist()


@dataclass(frozen=True)
class Tokens:
    """Log-probabilities of every choice at the sampled tokens of a batch."""

    logs: np.ndarray
    """[N, V]."""
    chosen: np.ndarray
    """[N]: of the token that was sampled."""


def tokens_of(
    decoder: NumpyDecoder, sequences: list[tuple[list[int], list[int]]], temperature: float
) -> Tokens:
    """Every sampled token of a batch, sequence after sequence."""
    logs, chosen = [], []
    for prompt, said in sequences:
        every = decoder.log_probabilities(prompt + said, temperature)
        own = every[len(prompt) - 1 : len(prompt) + len(said) - 1]
        logs.append(own)
        chosen.append(own[np.arange(len(said)), said])
    return Tokens(np.concatenate(logs), np.concatenate(chosen))


def judge(case: Case) -> str:
    """A random decoder: what is told of its updates, or what must not change them."""
    letters = write_random(case, case.folder / "model")
    kind = case.choose([judge_metrics, judge_metrics, judge_metrics, judge_unscored, judge_writing])
    return kind(case, letters)


def judge_metrics(case: Case, letters: str) -> str:
    """Train for some updates; recompute all that is told of them."""
    import klamp.lm

    preset = case.choose([*BOUNDED, *GROUPS, "reinforce"])
    settings, rows = draw(case, preset), draw_rows(case, letters)
    seen = Seen(letters, np.random.default_rng([case.number, 3]))
    decoders = [read_decoder(case.folder / "model")]

    def keep(event: Any) -> None:
        event.policy.save(case.folder / f"after-{event.metrics['update']}")
        decoders.append(read_decoder(case.folder / f"after-{event.metrics['update']}"))

    case.spoil()
    run = case.folder / "run"
    klamp.lm.train(
        str(case.folder / "model"), preset, data=rows, reward=seen, out=run, quiet=True,
        report=keep, **settings,
    )  # fmt: skip
    config = json.loads((run / "config.json").read_text())
    for number, told in enumerate(read_metrics(run)):
        moment = Moment(f"{preset}, update {number + 1}", config, told)
        moment.judge(decoders[0], *decoders[number : number + 2], seen, number)
        if preset in GROUPS:
            moment.judge_advantage(preset)
    return f"{preset}, {settings['prompts']} × {settings['generations']}"


def judge_unscored(case: Case, letters: str) -> str:
    """Completions that were cut off and are not learnt from: their rewards change no byte of θ."""
    import klamp.lm

    preset = case.choose(["ppo", "trpo", "reinforce", "a2c", "npg"])
    settings = draw(case, preset) | {"truncation": "mask", "generations": 1}
    rows, most = draw_rows(case, letters), settings["max_new_tokens"]
    case.spoil()
    saved: list[bytes] = []
    cut = 0
    for garbage in (None, np.random.default_rng([case.number, 4])):
        answers = np.random.default_rng([case.number, 3])

        def reward(
            completion_ids: list[list[int]], garbage: Any = garbage, answers: Any = answers
        ) -> list[float]:
            nonlocal cut
            earned = answers.normal(size=len(completion_ids))
            for row, ids in enumerate(completion_ids):
                if len(ids) == most and ids[-1] != 0:
                    cut += 1
                    if garbage is not None:
                        earned[row] = garbage.normal() * 10.0 ** garbage.integers(-3, 9)
            return earned.tolist()

        name = "first" if garbage is None else "second"
        result = klamp.lm.train(
            str(case.folder / "model"), preset, data=rows, reward=reward,
            out=case.folder / name, quiet=True, **settings,
        )  # fmt: skip
        path = result.policy.save(case.folder / f"{name} model")
        saved.append((path / "model.safetensors").read_bytes())
    must(saved[0] == saved[1], f"{preset}: rewards of completions that are masked change θ")
    return f"{preset}, rewards of {cut} masked completions"


def judge_writing(case: Case, letters: str) -> str:
    """What a policy writes is its own, whatever is beside it; what is padding is not read."""
    import klamp.lm

    case.spoil()
    model, exact = (
        klamp.lm.load_pretrained(case.folder / "model"),
        read_decoder(case.folder / "model"),
    )
    count, longest = int(case.rng.integers(2, 7)), int(case.rng.integers(2, 9))
    vocabulary = exact.form["vocab_size"]
    tokens = case.rng.integers(0, vocabulary, (count, longest))
    valid = np.arange(longest) >= case.rng.integers(0, longest, (count, 1))
    garbage = np.where(valid, tokens, case.rng.integers(-(2**31), 2**31, tokens.shape))
    clean, other = (
        np.asarray(model.logits(each.astype(np.int32), valid)) for each in (tokens, garbage)
    )
    must(np.array_equal(clean[valid], other[valid]), "ids under padding change logits")
    for row in range(count):
        own = tokens[row][valid[row]].tolist()
        logits = clean[row][valid[row]].astype(np.float64)
        found = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected = exact.log_probabilities(own, 1.0)
        agree(f"log-probabilities of row {row}", found, expected, rtol=1e-4, atol=1e-4)
    return f"{count} rows of up to {longest} tokens, padded with garbage"


def draw_rows(case: Case, letters: str) -> list[dict[str, str]]:
    """Random prompts."""
    return [
        {"prompt": "".join(case.rng.choice(list(letters), case.rng.integers(1, 7)))}
        for _ in range(int(case.rng.integers(1, 9)))
    ]


def draw(case: Case, preset: str) -> dict[str, Any]:
    """Random settings of a small run."""
    generations = int(case.choose([2, 3, 4])) if preset in GROUPS else int(case.choose([1, 2]))
    prompts = int(case.rng.integers(2, 7))
    new_tokens = int(case.rng.integers(2, 7))
    settings: dict[str, Any] = {
        "prompts": prompts,
        "generations": generations,
        "max_new_tokens": new_tokens,
        "max_prompt_tokens": 8,
        "temperature": float(case.choose([0.5, 1.0, 1.7])),
        "steps": prompts * generations * new_tokens,
        "seed": int(case.rng.integers(1000)),
    }
    if preset in BOUNDED:
        settings["max_kl"] = float(10 ** case.rng.uniform(-4, -1.5))
    if preset in (*GROUPS, "ppo"):
        settings |= {"epochs": 2, "minibatch_size": 4, "learning_rate": 3e-3}
    if preset == "trpo":
        settings["fisher_subsample"] = 1
    if preset == "dapo":
        settings["redraw_groups"] = 0
    if preset == "npg":
        settings["fisher_subsample"] = 1
    if preset not in GROUPS:
        settings["critic_warmup"] = 0
    if case.chance(0.3):
        settings["adapter_rank"] = 2
    if case.chance(0.3):
        settings["reference_coefficient"] = 0.05
        if preset in (*GROUPS, "ppo"):
            settings["reference_kl"] = "loss"
    return settings


class Moment:
    """One update and what was told of it."""

    def __init__(self, what: str, config: dict[str, Any], told: dict[str, Any]) -> None:
        self.what, self.config, self.told = what, config, told

    def same(self, name: str, expected: float, rtol: float, atol: float) -> None:
        """Agreement of one metric."""
        agree(f"{self.what}: {name}", self.told[name], expected, rtol=rtol, atol=atol)

    def judge(
        self,
        first: NumpyDecoder,
        before: NumpyDecoder,
        after: NumpyDecoder,
        seen: Seen,
        number: int,
    ) -> None:
        """KL, entropy, ratios, lengths and rewards."""
        self.sequences, self.rewards = seen.sequences[number], seen.rewards[number]
        temperature = self.config["temperature"]
        old, new, far = (
            tokens_of(each, self.sequences, temperature) for each in (before, after, first)
        )
        self.lengths = np.array([len(said) for _, said in self.sequences])
        kl = np.sum(np.exp(old.logs) * (old.logs - new.logs), axis=1)
        limit, outcome = self.config.get("max_kl"), self.told["outcome"]
        bounded = limit is not None and self.told["outcome"] != "NON_FINITE"
        must(outcome != "NON_FINITE", f"{self.what}: NON_FINITE, but nothing is")
        if bounded:
            must(kl.mean() <= limit, f"{self.what}: {outcome}, true KL {kl.mean():.9g} > {limit:g}")
        self.same("kl", kl.mean(), 2e-3, 1e-7)
        self.same("kl_max", kl.max(), 1e-2, 1e-6)
        self.same("kl_sequence", kl.sum() / len(self.lengths), 2e-3, 1e-6)
        self.same("entropy", -np.sum(np.exp(new.logs) * new.logs, axis=1).mean(), 1e-4, 1e-4)
        self.ratio = np.exp(new.chosen - old.chosen)
        self.same("ratio_max", self.ratio.max(), 2e-3, 1e-4)
        must(self.told["ratio_error"] < 1e-4, f"{self.what}: sampled from another policy")
        self.same("completion_length_mean", self.lengths.mean(), 1e-6, 0)
        self.same("reward_mean", self.rewards.mean(), 1e-5, 1e-6)
        if self.config["reference_coefficient"] > 0:
            away = np.sum(np.exp(new.logs) * (new.logs - far.logs), axis=1)
            self.same("kl_reference", away.mean(), 2e-3, 1e-6)

    def judge_advantage(self, preset: str) -> None:
        """Â of the preset, from the rewards alone, and the surrogate before and after."""
        baseline, aggregation = GROUPS[preset]
        count = self.config["generations"]
        groups = self.rewards.reshape(-1, count)
        centred = groups - groups.mean(axis=1, keepdims=True)
        even = np.ptp(groups, axis=1) == 0
        self.same("groups_without_spread", even.mean(), 1e-6, 1e-6)
        if baseline == "leave-one-out":
            centred = centred * count / (count - 1)
        if baseline == "group":
            deviation = np.where(even, 1, groups.std(axis=1))
            centred = centred / deviation[:, None]
        tokens, sequences = self.lengths.sum(), len(self.lengths)
        scale = {
            "token": np.ones(sequences),
            "sequence": tokens / sequences / self.lengths,
            "constant": np.full(sequences, tokens / sequences / self.config["max_new_tokens"]),
        }[aggregation]
        advantage = np.repeat(centred.ravel() * scale, self.lengths)
        self.same("surrogate_before", advantage.mean(), 1e-4, 1e-5)
        self.same("surrogate_after", (self.ratio * advantage).mean(), 2e-3, 2e-5)


PROMISE = Promise(
    name="language",
    says="the metrics of a language model's updates are what float64 gives from its files and "
    "rewards: log-probabilities at sampled tokens, KL ≤ max_kl, advantages and their aggregation; "
    "rewards of completions that are masked, and ids under padding, change nothing",
    judge=judge,
    plants=broken_language.PLANTS,
    share=2,
)
