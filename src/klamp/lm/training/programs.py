"""The compiled updates of a run, made in a thread of their own while something else goes on.

Compiling is most of what a small run does before its first update, and holds no lock of Python's:
the update that is wanted after the warm-up of the critic is compiled during that warm-up.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from klamp.lm.tokens.sequences import Completions
from klamp.runtime.device import in_float32

What = Literal["all", "critic"]
"""What an update learns."""


class Programs:
    """Compiled programs of one learner, by what they learn and the lengths of the completions."""

    def __init__(self, learn: Any) -> None:
        """``learn`` is what ``make_learn`` returned."""
        self._learn = learn
        self._begun: dict[Any, Future[Any]] = {}
        # One thread: they are made in the order in which they are wanted.
        self._maker = ThreadPoolExecutor(1, "compiling updates")

    def begin(self, what: What, completions: Completions, *arguments: Any) -> Future[Any]:
        """The program for completions of these lengths, which is made only once.

        ``arguments`` are those of ``learn`` behind ``what``.
        """
        made_for = (what, completions.tokens.shape, completions.action.shape)
        if made_for not in self._begun:
            self._begun[made_for] = self._maker.submit(self._made, what, *arguments)
        return self._begun[made_for]

    @in_float32
    def _made(self, what: What, *arguments: Any) -> Any:
        return self._learn.lower(what, *arguments).compile()
