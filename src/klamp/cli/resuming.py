"""`klamp resume`."""

from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from klamp.cli.joining import Joining, run_together
from klamp.cli.options import parse
from klamp.cli.training import again, ended, ended_together
from klamp.cli.words import on_the_command_line


def resume(words: list[str]) -> int:
    """`klamp resume DIR`."""
    given = _resume_options(words)
    from klamp.runtime.signals import Signals, leave_saying

    where = f"go on with: klamp resume {given.folder}"
    nothing = leave_saying(f"nothing was trained since the last checkpoint; {where}")
    with Signals(nothing, on_the_command_line) as signals:
        from klamp.runs.folder import of_language, runs_of_seeds

        if folders := runs_of_seeds(given.folder):
            from klamp.training.seeds import resume_seeds

            resume_seeds(
                given.folder,
                steps=given.steps,
                quiet=given.quiet,
                report=given.log,
                device=given.device,
                signals=signals,
                trust=given.trust,
                again=again(given.folder),
            )
            return ended_together(folders)
        if of_language(given.folder):
            from klamp.cli.language import resume as resume_language

            return resume_language(given, signals)
        return _resume_one(given, signals)


def _resume_one(given: Any, signals: Any) -> int:
    """One run, in this process or in several."""
    from klamp.runs.folder import read_trusted_config, run_of
    from klamp.training.callbacks import gather
    from klamp.training.resume import go_on

    def lead(processes: Any) -> int:
        how = {"steps": given.steps, "device": given.device, "trust": given.trust}
        reporters = gather(given.log, quiet=given.quiet)
        return ended(
            go_on(given.folder, reporters=reporters, signals=signals, processes=processes, **how)
        )

    config = read_trusted_config(run_of(given.folder), given.trust)

    def follow_it(processes: Any) -> None:
        from klamp.training.follow import follow

        how = {"device": given.device, "resumed": given.folder, "steps": given.steps}
        follow(config, processes, signals=signals, **how)

    facts = config.to_dict() | {"device": given.device, "command": f"resume to {given.steps}"}
    return run_together(given.joining, config, facts, signals, lead, follow_it)


def _resume_options(words: list[str]) -> Any:
    """The options of `klamp resume`."""
    import tyro

    options = make_dataclass(
        "ResumeOptions",
        [
            ("folder", tyro.conf.Positional[Path]),
            ("steps", int | None, None),
            ("device", str, "auto"),
            ("trust", bool, False),
            ("log", tuple[str, ...], ()),
            ("quiet", bool, False),
            ("joining", Joining, Joining()),
        ],
    )
    options.__doc__ = """Go on with a run.

    Args:
        folder: The run's folder, or that of many seeds.
        steps: Train to this number of steps instead of the run's own.
        device: cpu, gpu, or auto, which leaves it to JAX.
        trust: Import the module that config.json names, though no klamp of yours wrote it there.
        log: What else to write: csv, episodes, tensorboard, wandb, or several of them.
        quiet: Show no progress.
    """
    return parse(
        options,
        words,
        command="resume",
        description="Go on with a run from its latest checkpoint.",
    )
