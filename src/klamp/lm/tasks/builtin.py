"""The built-in tasks, by name."""

from collections.abc import Sequence

from klamp.lm.learning.supervised import WarmStart
from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.tasks.digits import VOCABULARY, Addition, Sort
from klamp.lm.tasks.guess import Guess
from klamp.lm.tasks.memory import Remember
from klamp.lm.tasks.task import DemonstratedEnvironment, Task
from klamp.lm.tasks.walks import Walks


def small_decoder(vocabulary: int, context: int = 64) -> DecoderConfig:
    """About 75,000 parameters in the form of Qwen3."""
    return DecoderConfig(
        vocabulary=vocabulary,
        width=64,
        layers=2,
        heads=4,
        key_value_heads=2,
        head_width=16,
        mlp_width=128,
        context=context,
        tied_head=True,
        query_key_norm=True,
        family="qwen3",
    )


def _task(
    environment: DemonstratedEnvironment,
    vocabulary: Sequence[str],
    optimum: float,
    warm_start: WarmStart | None,
    exact: bool = True,
) -> Task:
    decoder = small_decoder(len(vocabulary))
    return Task(environment, tuple(vocabulary), optimum, decoder, warm_start, exact)


def _guess(game: Guess) -> Task:
    return _task(game, game.vocabulary, game.optimum, None, exact=False)


TASKS: dict[str, Task] = {
    "sort": _task(Sort(), VOCABULARY, 1, WarmStart(72, batch=64, learning_rate=8e-3)),
    "addition": _task(Addition(), VOCABULARY, 1, WarmStart(200, learning_rate=1e-2)),
    "walks": _task(Walks(), tuple("0abcdefghijklmno"), 1, WarmStart(150), exact=False),
    "guess": _guess(Guess()),
    "guess-32": _guess(Guess(numbers=32, turns=8)),
    "memory": _task(Remember(), Remember().vocabulary, 1, WarmStart(60)),
}
"""What `klamp lm train` takes by these names."""
