"""The folder of a training run.

config.yaml        the whole experiment, including defaults
environment.json   versions, machine and command, one entry per start
metrics.jsonl      one line per log entry and evaluation
.lock              the process that uses the folder, while it runs
checkpoints/       model, optimizer, averages and step, for --resume
result.json        result of `zip-keras measure`, with proposals.npz or detections.npz
last.keras         the model after the latest evaluation; best.keras is the best by AR@100 or AP50
tensorboard/
"""

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import keras

from zip_keras.config import ExperimentConfig, to_dict
from zip_keras.config.files import config_differences, config_text, read_config
from zip_keras.errors import UserError
from zip_keras.inference.keras_file import save_keras_file
from zip_keras.training.checkpoints import Found, find_checkpoints
from zip_keras.training.environment_file import ENVIRONMENT_FILE, read_starts, set_aside_if_damaged
from zip_keras.training.metrics_file import (
    METRICS_FILE,
    drop_later_metrics,
    read_metrics,
    repair_metrics,
    selecting_metric,
)
from zip_keras.utils.environment import environment
from zip_keras.utils.files import atomic_write
from zip_keras.utils.locks import FolderLock

# Partial files of killed processes. Only the holder of the folder's lock may remove them.
LEFTOVERS = (
    ".*.part",
    ".*.writing.keras",
    "checkpoints/ckpt-*_temp",
    "checkpoints/*.tempstate*",
    "checkpoints/checkpoint.tmp*",
)

# Options that may change when a run resumes: where it runs, how it is evaluated and what it writes, not what it learns.
FREE_ON_RESUME = (
    "postprocess.",
    "detector.postprocess.",
    "data.val:",
    "train.steps:",
    "train.strategy:",
    "train.devices:",
    "train.log_every:",
    "train.evaluate_every:",
    "train.checkpoint_every:",
    "train.evaluate_images:",
    "train.evaluate_start:",
    "data.test_short_sides:",
    "data.test_long_side:",
    "train.keep_checkpoints:",
)


class RunFolder:
    """Paths and files of one run; see the module docstring.

    Args:
        path: path of the folder.
        chief: whether this process writes; other workers of a multi-worker run only read.
    """

    def __init__(self, path: str | Path, chief: bool = True):
        self.path, self.chief = Path(path), chief
        self._measured = ""  # digest of the evaluation settings
        self._lock = FolderLock(self.path)
        self.found = Found()  # checkpoints, set by `open`
        self.metric = "AR@100"  # selects the best model, see `selecting_metric`; set by `open`

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def open(self, config: ExperimentConfig, resume: bool, images: str) -> None:
        """Create the folder, or check that it holds the same run, and lock it until `close`.

        Files damaged by a kill are repaired. `found` is set to the checkpoints of the run. Workers other than the chief
        only look for checkpoints, because the state of other files depends on whether the chief was faster.

        Args:
            config: config of this start.
            resume: whether to continue an existing run.
            images: digest of the training images, see `Dataset.digest`.

        Raises:
            UserError: the folder is in use, cannot be written, holds a run and `resume` is False, or its run has
                another config, other images or no readable checkpoint.
        """
        self.metric = selecting_metric(config)
        measured = [config.data.val, config.train.evaluate_images, to_dict(config.postprocess)]
        if config.data.test_short_sides:
            measured.append([config.data.test_short_sides, config.data.test_long_side])
        if config.detector.kind != "none":
            measured.append(to_dict(config.detector.postprocess))
        if config.data.unseen_classes:
            measured.append(config.data.unseen_classes)
        self._measured = hashlib.sha256(json.dumps(measured).encode()).hexdigest()[:16]
        if not self.chief:
            self.found = find_checkpoints(self.checkpoints)
            return
        self._lock.acquire()
        try:
            self._open(config, resume, images)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock of the folder."""
        self._lock.release()

    def _open(self, config: ExperimentConfig, resume: bool, images: str) -> None:
        saved = self.path / "config.yaml"
        if saved.exists() and not resume:
            raise UserError(f"{self.path}: holds a run already; add --resume to go on with it or name another folder")
        self.found = find_checkpoints(self.checkpoints)
        if saved.exists():
            set_aside_if_damaged(self.path, say)
            self._check_same_run(saved, config, images)
        elif self.found.readable:
            raise UserError(f"{saved}: missing, but the folder holds checkpoints; put it back or name another folder")
        if not self.found.readable and (self.path / "last.keras").exists():
            raise UserError(
                f"{self.path}: holds last.keras but no checkpoint, so the training would begin again and replace it; "
                f"start a new run folder (with train.weights={self.path / 'last.keras'} to start from it)"
            )
        self._remove_leftovers()
        _write(saved, config_text(config))
        self._note_environment(config, images)
        repair_metrics(self.path, say)

    def _remove_leftovers(self) -> None:
        for pattern in LEFTOVERS:
            for leftover in self.path.glob(pattern):
                if leftover.is_dir() and not leftover.is_symlink():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)

    def go_on_from(self, step: int) -> None:
        """Remove the metrics of steps after `step`, which will run again."""
        if self.chief:
            drop_later_metrics(self.path, step)

    def append_metrics(self, values: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        if self.chief:
            how = {"measured": self._measured} if self.metric in values else {}
            file = self.path / METRICS_FILE
            try:
                with file.open("a") as stream:
                    stream.write(json.dumps({"time": round(time.time(), 1), **values, **how}) + "\n")
            except OSError as error:
                raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None

    def best_recall(self) -> float:
        """The highest `metric` so far with the same evaluation settings; -1 if there is none."""
        return max((line[self.metric] for line in self._lines() if self._comparable(line)), default=-1.0)

    def recall_at(self, step: int) -> float | None:
        """`metric` after this step with the same evaluation settings; None if it was not evaluated."""
        return next(
            (line[self.metric] for line in self._lines() if self._comparable(line) and line["step"] == step), None
        )

    def evaluated(self, step: int) -> bool:
        """Whether the evaluation after this step is complete."""
        return self.recall_at(step) is not None

    def save_proposer(self, proposer: keras.Model, name: str) -> None:
        """Write `name`.keras atomically; raise `UserError` if it cannot be written."""
        if self.chief:
            save_keras_file(proposer, self.path / f"{name}.keras")

    def _comparable(self, line: dict[str, Any]) -> bool:
        return self.metric in line and line.get("measured", self._measured) == self._measured

    def _lines(self) -> list[dict[str, Any]]:
        return read_metrics(self.path) if (self.path / METRICS_FILE).exists() else []

    def _check_same_run(self, saved: Path, config: ExperimentConfig, images: str) -> None:
        before = read_config(saved)
        changed = [line for line in config_differences(before, config) if not line.startswith(FREE_ON_RESUME)]
        if changed:
            raise UserError(
                f"{saved}: the run was started with another config ({'; '.join(changed)}); "
                f"resume it without these changes or start a new run folder"
            )
        starts = read_starts(self.path)
        if starts and starts[-1].get("images", images) != images:
            raise UserError(
                f"{self.path}: {config.data.train} holds other images or boxes than when the run was started, so its "
                "steps would mean other batches; put them back or start a new run folder"
            )
        if before.train.schedule == "cosine" and before.train.steps != config.train.steps:
            say(
                f"{self.path}: train.steps was {before.train.steps} and is {config.train.steps}: the learning rate "
                "follows another cosine from here on"
            )

    def _note_environment(self, config: ExperimentConfig, images: str) -> None:
        start = {**environment(), "seed": config.train.seed, "images": images}
        _write(self.path / ENVIRONMENT_FILE, json.dumps([*read_starts(self.path), start], indent=1))


def say(text: str) -> None:
    """Print one line for the user on standard error."""
    print(text, file=sys.stderr, flush=True)


def _write(file: Path, text: str) -> None:
    """Write a file atomically."""
    with atomic_write(str(file)) as unfinished:
        unfinished.write_text(text)
