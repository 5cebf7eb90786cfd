"""GRPO beside TRL's ``GRPOTrainer``: ``python benchmarks/lm/beside_trl.py --peer PYTHON``.

``PYTHON`` is that of an environment with torch, transformers and trl. For each seed both start from
one checkpoint (the supervised start of the task `sort`) and make updates of 256 completions, 32
prompts of 8, each of four epochs of four minibatches: the same advantage, clip, step size and limit
of the gradient's norm, one core, one thread, the order turning from seed to seed. Seconds are of
the processor, ratios are taken within a seed. Written to `results/lm_trl.md`; seeds that are in
`results/lm_trl.json` are not repeated.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import itertools

from harness import RESULTS, cores, environment, machine, provenance, write
from tables import interval

UPDATES, PROMPTS, GENERATIONS, DIGITS = 40, 32, 8, 6
STEP_SIZE, NORM, EPOCHS, MINIBATCH = 3e-4, 0.5, 4, 64
KEPT = RESULTS / "lm_trl.json"


def start(seed: int, folder: Path) -> None:
    """The checkpoint of a seed."""
    import jax

    from klamp.lm.learning.supervised import warm_started
    from klamp.lm.networks.pretrained import Pretrained
    from klamp.lm.networks.untrained import random_decoder
    from klamp.lm.tasks.builtin import TASKS
    from klamp.lm.tasks.task import demonstrate
    from klamp.lm.tokens.tokenizer import SymbolTokenizer

    task, (made, shown, noise) = TASKS["sort"], jax.random.split(jax.random.key(seed), 3)
    decoder = random_decoder(task.decoder, made)
    show = jax.tree_util.Partial(demonstrate, task.environment, shown)
    decoder, _ = warm_started(decoder, show, task.warm_start, noise)
    # Ids are the task's own: the symbols of ids 1, 2, …, and id 0, which is the digit 0.
    Pretrained(decoder, SymbolTokenizer(task.vocabulary[1:])).save(folder)


def with_klamp(folder: Path, seed: int) -> dict[str, Any]:
    """The updates of klamp, on the built-in task with that checkpoint for its start."""
    import klamp.lm
    from klamp.lm.networks.pretrained import load_pretrained
    from klamp.lm.training import setup

    # As a run that is resumed: its start is there already.
    setup._kept = lambda _: load_pretrained(folder).decoder
    times, rewards = [time.process_time()], list[float]()

    def note(event: Any) -> None:
        times.append(time.process_time())
        rewards.append(event.metrics["reward_mean"])

    klamp.lm.train(
        "sort", "grpo", prompts=PROMPTS, generations=GENERATIONS, epochs=EPOCHS, quiet=True,
        minibatch_size=MINIBATCH, learning_rate=STEP_SIZE, max_gradient_norm=NORM, seed=seed,
        steps=UPDATES * PROMPTS * GENERATIONS * DIGITS, out=folder.parent / "run", report=note,
    )  # fmt: skip
    return {"times": times, "rewards": rewards}


def with_trl(folder: Path, seed: int) -> dict[str, Any]:
    """The updates of TRL."""
    import numpy as np
    import torch
    from datasets import Dataset
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    words = Tokenizer(models.WordLevel({text: at for at, text in enumerate("0123456789>+=")}))
    words.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    # No completion ends by itself; one that has these two signs is wrong anyway.
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="+", eos_token="=")
    tokenizer.padding_side = "left"
    drawn = np.random.default_rng(seed).integers(0, 10, (UPDATES * PROMPTS, DIGITS))
    data = Dataset.from_list([{"prompt": "".join(map(str, row)) + ">"} for row in drawn])
    times, rewards = [time.process_time()], list[float]()

    def correct(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        # Called once for each batch of completions: the first of an update.
        times.append(time.process_time())
        right = [
            float(said.replace(" ", "") == "".join(sorted(asked[:-1])))
            for asked, said in zip(prompts, completions, strict=True)
        ]
        rewards.append(statistics.mean(right))
        return right

    steps = PROMPTS * GENERATIONS // MINIBATCH
    options = GRPOConfig(
        output_dir=str(folder.parent / "trl"), seed=seed, use_cpu=True, bf16=False,
        per_device_train_batch_size=MINIBATCH, gradient_accumulation_steps=1,
        num_generations=GENERATIONS, steps_per_generation=steps, num_iterations=EPOCHS,
        max_completion_length=DIGITS, temperature=1.0, top_k=0, beta=0.0, epsilon=0.2,
        loss_type="grpo", scale_rewards="group", learning_rate=STEP_SIZE,
        lr_scheduler_type="constant", adam_epsilon=1e-5, weight_decay=0.0, max_grad_norm=NORM,
        max_steps=UPDATES * EPOCHS * steps, logging_steps=10**6, save_strategy="no",
        report_to="none", disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=correct, args=options, train_dataset=data, processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    return {"times": times, "rewards": rewards}


SYSTEMS = {"klamp": with_klamp, "TRL": with_trl}
PACKAGES = {"klamp": ["klamp", "tokenizers", "jinja2"], "TRL": ["trl", "torch", "transformers"]}


def installed_mb(names: list[str]) -> float:
    """The size of these distributions and of all that they require."""
    import re

    sizes: dict[str, float] = {}
    queue = list(names)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in sizes:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        files = [Path(str(found.locate_file(file))) for file in found.files or []]
        sizes[name] = sum(path.stat().st_size for path in files if path.is_file())
        needed = [line for line in found.requires or [] if "extra ==" not in line]
        queue += [re.split(r"[ <>=!~;\[(]", line)[0] for line in needed]
    return sum(sizes.values()) / 1e6


def worker(system: str, folder: Path, seed: int) -> dict[str, Any]:
    """What a system did, and what it took."""
    found = SYSTEMS[system](folder, seed)
    return found | {
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "installed_mb": installed_mb(PACKAGES[system]),
        "version": version(system.lower()),
    }


def both(seed: int, pythons: dict[str, str]) -> dict[str, Any]:
    """One seed by both, each in a process of its own."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        programs = Path(tempfile.gettempdir()) / "klamp-lm-programs"
        told = environment(1, programs) | {"HF_HUB_OFFLINE": "1"}

        def run(system: str, *more: str) -> bytes:
            command = [pythons[system], __file__, *more, f"{scratch}/model", str(seed)]
            return subprocess.run(command, env=told, stdout=subprocess.PIPE, check=True).stdout

        run("klamp", "--start")
        for system in list(pythons)[:: 1 if seed % 2 else -1]:
            found[system] = json.loads(run(system, "--worker", system).splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--worker", nargs=3)
    parser.add_argument("--start", nargs=2)
    given = parser.parse_args()
    if given.start:
        start(int(given.start[1]), Path(given.start[0]))
        return
    if given.worker:
        os.sched_setaffinity(0, {cores()[0]})
        system, folder, seed = given.worker
        print(json.dumps(worker(system, Path(folder), int(seed))))
        return
    seeds: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for seed in range(given.seeds):
        if str(seed) not in seeds:
            seeds[str(seed)] = both(seed, {"klamp": sys.executable, "TRL": given.peer})
            write(KEPT, json.dumps(seeds) + "\n")
            write(RESULTS / "lm_trl.md", page(list(seeds.values())))
    print(page(list(seeds.values())))


def update_s(run: dict[str, Any]) -> float:
    """The median update, in processor seconds."""
    times = run["times"][1:]
    return statistics.median(b - a for a, b in itertools.pairwise(times))


def page(seeds: list[dict[str, Any]]) -> str:
    """Speed, memory, size, and both curves."""
    ratios = [update_s(each["TRL"]) / update_s(each["klamp"]) for each in seeds]
    memory = [each["klamp"]["peak_mb"] / each["TRL"]["peak_mb"] for each in seeds]
    lines = [
        "# GRPO beside TRL",
        "",
        f"`python benchmarks/lm/beside_trl.py --peer PYTHON`: {len(seeds)} seeds, {UPDATES}",
        "updates of 256 completions (32 prompts of 8), four epochs of four minibatches, one",
        "checkpoint, one core. An update has its completions in it; seconds are of the processor.",
        "",
        f"**klamp makes {statistics.median(ratios):.1f} times as many updates a second "
        f"({min(ratios):.1f} … {max(ratios):.1f}), in {statistics.median(memory):.1f} times the "
        "memory.**",
        "",
        "| | an update, ms | peak resident memory, MB | installed, MB | version |",
        "|---|---|---|---|---|",
    ]
    for system in SYSTEMS:
        runs = [each[system] for each in seeds]
        lines.append(
            f"| {system} | {1000 * statistics.median(map(update_s, runs)):.0f} | "
            f"{statistics.median(run['peak_mb'] for run in runs):,.0f} | "
            f"{runs[0]['installed_mb']:,.0f} | {runs[0]['version']} |"
        )
    lines += [
        "",
        "Share of exact answers in the completions of five updates, mean ± half of the interval at",
        "95 % (least … greatest) over seeds:",
        "",
        "| updates | klamp | TRL |",
        "|---|---|---|",
    ]
    for first in range(0, UPDATES, 5):
        cells = [
            interval([statistics.mean(each[s]["rewards"][first : first + 5]) for each in seeds])
            for s in SYSTEMS
        ]
        lines.append(f"| {first + 1} to {first + 5} | {' | '.join(cells)} |")
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    return "\n".join([*lines, "", about, ""])


if __name__ == "__main__":
    main()
