"""The folder of a run: made once, never overwritten, read back by `resume`, `eval`, `load`.

`config.json` (all that is needed to build the run again), `metrics.jsonl` (one line an update),
`summary.json` and `checkpoints/`.
"""

import json
from importlib.metadata import version
from pathlib import Path

from klamp.checkpoint import checkpoints
from klamp.config import RunConfig, algorithm_name
from klamp.errors import CheckpointError, ConfigError, RunFolderError
from klamp.files import write_atomically
from klamp.metrics import read_metrics, to_json


def choose_folder(config: RunConfig, out: str | Path | None) -> Path:
    """The folder a run will get; an error where something lies there already."""
    name = f"{config.env.replace(':', '-').replace('/', '-')}-{algorithm_name(config.algorithm)}"
    folder = Path("runs") / f"{name}-{config.settings.seed}" if out is None else Path(out)
    if folder.exists() and (not folder.is_dir() or any(map(_matters, folder.iterdir()))):
        raise RunFolderError(
            f"The run folder {folder} exists already, and nothing in it was touched. Go on with it "
            f"by `klamp resume {folder}`, or choose another with `--out`, or another seed."
        )
    return folder


def _matters(path: Path) -> bool:
    """Whether a file is more than what a kill left of one that was being written."""
    return not (path.name.startswith(".") and path.name.endswith((".tmp", ".lock")))


def nothing_trained(folder: Path) -> bool:
    """Whether a run was stopped after its config was written and before its first checkpoint."""
    lines = folder / "metrics.jsonl"
    return not checkpoints(folder / "checkpoints") and not (lines.exists() and lines.stat().st_size)


def create_folder(folder: Path, config: RunConfig) -> None:
    """Make a run's folder, with its `config.json`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_config(folder, config)
    except OSError as error:
        raise RunFolderError(
            f"The run folder {folder} cannot be written ({error.strerror}). Choose another with "
            "`--out`."
        ) from error


def write_config(folder: Path, config: RunConfig) -> None:
    """`config.json`, with the version that wrote it."""
    data = {"klamp_version": version("klamp")} | config.to_dict()
    write_atomically(folder / "config.json", json.dumps(data, indent=1) + "\n")


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run's folder."""
    path = folder / "config.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is no run's folder: it has no config.json. Expected one that `klamp train` "
            "made, such as `runs/CartPole-v1-ppo-0`."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds a {type(data).__name__}; expected a JSON object.")
    return RunConfig.from_dict(data)


def drop_metrics_after(path: Path, update: int) -> None:
    """Cut lines of updates that the checkpoint does not know; they will be made again."""
    if path.exists():
        kept = [line for line in read_metrics(path) if line["update"] <= update]
        write_atomically(path, "".join(to_json(line) + "\n" for line in kept))
