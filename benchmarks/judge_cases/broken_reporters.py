"""What is broken on purpose in callbacks and logs."""

from importlib import import_module
from typing import Any


def _loses_a_line(names: Any) -> None:
    """A table without its third row."""
    kind = import_module("klamp.reporting.csv").CsvLog
    true = kind.update
    kind.update = lambda self, event: event.metrics["update"] == 3 or true(self, event)


def _rounds(names: Any) -> None:
    """A table of four digits."""
    module = import_module("klamp.reporting.csv")
    true = module.finite

    def broken(line: Any) -> Any:
        return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in true(line).items()}

    module.finite = broken


def _by_update(names: Any) -> None:
    """Curves over updates, not over steps."""
    kind = import_module("klamp.reporting.tensorboard").TensorBoardLog
    true = kind._add
    kind._add = lambda self, line: true(self, dict(line) | {"step": line["update"]})


def _moves_the_training(names: Any) -> None:
    """A run that is trained otherwise where somebody looks at it."""
    true = names.train

    def broken(env: Any, algo: Any, *, report: Any = (), **options: Any) -> Any:
        if report:
            options["discount"] = options["discount"] * 0.999
        return true(env, algo, report=report, **options)

    names.train = broken


def _event(method: str, replacement: Any) -> Any:
    def plant(names: Any) -> None:
        setattr(import_module("klamp.training.callbacks").UpdateEvent, method, replacement)

    return plant


def _too_early(names: Any) -> None:
    """Callbacks see the policy before the update."""
    kind = import_module("klamp.training.callbacks").UpdateEvent
    true, held = kind.__init__, []

    def broken(self: Any, metrics: Any, config: Any, folder: Any, policy: Any, *more: Any) -> None:
        held.append(policy())
        true(self, metrics, config, folder, lambda: held[-2] if len(held) > 1 else held[-1], *more)

    kind.__init__ = broken


def _not_logged(self: Any, **values: float) -> None:
    """Own numbers, a tenth too small."""
    self._metrics.update({name: value / 10 for name, value in values.items()})


def _swallowed(names: Any) -> None:
    """Mistakes in callbacks pass in silence."""
    module = import_module("klamp.training.callbacks")
    true = module._call

    def broken(reporter: object, method: str, *parts: object) -> None:
        try:
            true(reporter, method, *parts)
        except RuntimeError:
            return

    module._call = broken


PLANTS = {
    "csv loses a line": _loses_a_line,
    "csv rounds": _rounds,
    "curves over updates": _by_update,
    "a watched run is another one": _moves_the_training,
    "event.stop() is not heard": _event("stop", lambda self, why: None),
    "event.save() is not heard": _event("save", lambda self: None),
    "event.log() keeps another number": _event("log", _not_logged),
    "callbacks see the policy before the update": _too_early,
    "mistakes in callbacks pass in silence": _swallowed,
}
