"""`klamp eval`."""

from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from klamp.cli.options import parse
from klamp.errors import printable


def checkpoint_named(word: str) -> int | str:
    """The checkpoint that a word names: a step, or ``last`` or ``best``."""
    return int(word) if word.isdecimal() else word


def evaluate(words: list[str]) -> int:
    """`klamp eval DIR`."""
    given = _eval_options(words)
    from klamp.evaluation.video import check_video, record_video
    from klamp.runs.folder import of_language

    if given.video is not None:
        check_video(given.video, given.video_episodes)
    chosen: Any = checkpoint_named(given.checkpoint)
    if of_language(given.folder):
        from klamp.cli.language import evaluated

        print(evaluated(given, chosen))
        return 0
    from klamp.evaluation import evaluate as evaluation
    from klamp.training.train import load

    policy = load(given.folder, checkpoint=chosen, trust=given.trust)
    result = evaluation.evaluate(
        policy, episodes=given.episodes, seed=given.seed, deterministic=not given.stochastic
    ).summary()
    print(
        f"{printable(policy.config.env)}: "
        f"mean return {result['return_mean']:.1f} ± {result['return_std']:.1f} "
        f"over {result['episodes']} episodes (from {result['return_min']:.1f} to "
        f"{result['return_max']:.1f}; mean length {result['length_mean']:.1f})"
    )
    if given.video is not None:
        returns = record_video(policy, given.video, seed=given.seed, episodes=given.video_episodes)
        what = "an episode" if len(returns) == 1 else f"{len(returns)} episodes"
        listed = ", ".join(f"{total:.1f}" for total in returns)
        print(f"Filmed {what} of return {listed} into {printable(str(given.video))}")
    return 0


def _eval_options(words: list[str]) -> Any:
    """The options of `klamp eval`."""
    import tyro

    options = make_dataclass(
        "EvalOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("episodes", int, 20),
            ("checkpoint", str, "last"),
            ("seed", int, 0),
            ("stochastic", bool, False),
            ("video", Path | None, None),
            ("video_episodes", int, 1),
            ("trust", bool, False),
        ],
    )
    options.__doc__ = """Run whole episodes with a trained policy.

    Args:
        folder: The run's folder.
        episodes: Whole episodes to run.
        checkpoint: Whose policy: last, best (the highest mean return), or a step.
        seed: Seed of the episodes.
        stochastic: Sample actions instead of taking the most probable ones.
        video: Film an episode into this file, .mp4 or .gif.
        video_episodes: How many episodes to film, one after the other in the file.
        trust: Import the module that config.json names, though no klamp of yours wrote it there.
    """
    return parse(
        options,
        words,
        command="eval",
        description="Run whole episodes with a trained policy.",
    )
