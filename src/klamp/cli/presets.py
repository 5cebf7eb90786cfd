"""`klamp presets`."""

from dataclasses import make_dataclass

from klamp.cli.options import environment_word, parse


def presets(words: list[str]) -> int:
    """`klamp presets [ENV]`."""
    options = make_dataclass("PresetOptions", [("env", environment_word(), ""), ("algo", str, "")])
    options.__doc__ = """Tuned settings.

    Args:
        env: Print all settings of a run in this environment, as a file that `--config` takes.
        algo: Those of this algorithm: all algorithms are listed, and ppo is the one printed.
    """
    given = parse(
        options,
        words,
        command="presets",
        description="The tuned settings, or all settings of a run as a file.",
    )
    from klamp.cli.own_algorithm import import_algorithm
    from klamp.config.environment_name import usual_wrappers
    from klamp.config.presets import algorithm_called, configure, sources
    from klamp.config.settings_file import as_toml

    if given.algo:
        import_algorithm(given.algo)
        algorithm_called(given.algo)
    if given.env:
        config = configure(given.env, given.algo or "ppo", {}, wrappers=usual_wrappers(given.env))
        print(as_toml(config, sources(config, {})))
    else:
        print(_listed(given.algo))
    return 0


def _listed(algo: str) -> str:
    """A row for each task, and for each algorithm that has settings of its own there."""
    from klamp.config.environment_name import WRAPPERS
    from klamp.config.presets import OTHERS, OWN, SHARED

    wrapped = {task: {"wrappers": " ".join(names)} for task, names in WRAPPERS.items()}
    rows = [(task, "", values | wrapped.get(task, {})) for task, values in SHARED.items()]
    rows += [(task, name, values) for (task, name), values in OWN.items() if algo in ("", name)]
    tasks = list(SHARED)
    rows.sort(key=lambda row: (tasks.index(row[0]), row[1]))
    rows.append(("any other", "", OTHERS))
    lines = [
        f"{'' if name else task:<22}  {name or 'all algorithms':<14}  "
        + ", ".join(f"{key}={value}" for key, value in values.items())
        for task, name, values in rows
    ]
    return "\n".join(
        [
            f"{'task, in every version':<22}  {'algorithm':<14}  settings that differ",
            *lines,
            "",
            "klamp presets ENV [--algo NAME] prints all settings of a run.",
        ]
    )
