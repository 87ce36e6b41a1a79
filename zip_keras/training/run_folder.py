"""What a run leaves on disk, and what it finds there when it goes on.

config.yaml        the whole experiment, defaults included
environment.json   versions, machine, command, one entry for each start
metrics.jsonl      one line for each log and evaluation
checkpoints/       model, optimizer, averages, step: what --resume needs
result.json        what `zip-keras measure` found, with proposals.npz
last.keras         the proposer after the newest evaluation; best.keras the one with the highest AR@100
tensorboard/
"""

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import keras

from zip_keras.config import ExperimentConfig
from zip_keras.config_files import changed_values, config_text, read_config
from zip_keras.errors import UserError
from zip_keras.evaluation.formats.files import complete_or_nothing
from zip_keras.training.metrics_file import METRICS_FILE, read_metrics
from zip_keras.training.surroundings import versions

# What may differ between the starts of one run: where it runs, how it is measured, what it writes; not what it learns.
FREE_ON_RESUME = (
    "suppression.",
    "data.val:",
    "train.steps:",
    "train.strategy:",
    "train.devices:",
    "train.log_every:",
    "train.evaluate_every:",
    "train.checkpoint_every:",
    "train.evaluate_images:",
    "train.keep_checkpoints:",
)


class RunFolder:
    """Paths and files of one run; see the module.

    Args:
        path: the folder.
        chief: whether this process writes; other workers of a multi-worker run only read.
    """

    def __init__(self, path: str | Path, chief: bool = True):
        self.path, self.chief = Path(path), chief

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def open(self, config: ExperimentConfig, resume: bool) -> None:
        """Creates the folder, or checks that what is there is the same run.

        Raises:
            UserError: the folder holds a run and `resume` is False, or the run has another config.
        """
        saved = self.path / "config.yaml"
        if saved.exists():
            if not resume:
                raise UserError(
                    f"{self.path}: holds a run already; add --resume to go on with it or name another folder"
                )
            before = read_config(saved)
            changed = [line for line in changed_values(before, config) if not line.startswith(FREE_ON_RESUME)]
            if changed:
                raise UserError(
                    f"{saved}: the run was started with another config ({'; '.join(changed)}); "
                    f"resume it without these changes or start a new run folder"
                )
        if self.chief:
            self.path.mkdir(parents=True, exist_ok=True)
            _write(saved, config_text(config))
            self._note_environment()

    def append_metrics(self, values: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`."""
        if self.chief:
            with (self.path / METRICS_FILE).open("a") as stream:
                stream.write(json.dumps({"time": round(time.time(), 1), **values}) + "\n")

    def best_recall(self) -> float:
        """The highest AR@100 evaluated so far; -1 before any."""
        lines = read_metrics(self.path) if (self.path / METRICS_FILE).exists() else []
        return max((line.get("AR@100", -1.0) for line in lines), default=-1.0)

    def save_proposer(self, proposer: keras.Model, name: str) -> None:
        """Writes `name`.keras whole or not at all."""
        if self.chief:
            temporary = self.path / f".{name}.writing.keras"
            proposer.save(temporary)
            os.replace(temporary, self.path / f"{name}.keras")

    def _note_environment(self) -> None:
        start = {
            "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "command": sys.argv,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "versions": versions(),
        }
        file = self.path / "environment.json"
        starts = json.loads(file.read_text()) if file.exists() else []
        _write(file, json.dumps([*starts, start], indent=1))


def _write(file: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, never meets half of it."""
    with complete_or_nothing(str(file)) as unfinished:
        unfinished.write_text(text)
