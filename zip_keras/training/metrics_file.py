"""`metrics.jsonl` of a run folder: one line for each log and each evaluation. Without TensorFlow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zip_keras.config import ExperimentConfig
from zip_keras.errors import UserError
from zip_keras.utils.files import atomic_write

METRICS_FILE = "metrics.jsonl"
DAMAGED_FILE = "metrics.damaged.jsonl"


def selecting_metric(config: ExperimentConfig) -> str:
    """The number by which a run keeps its best model: AR@100 or a detector's AP50, of seen classes if some are not."""
    metric = "AR@100" if config.detector.kind == "none" else "AP50"
    return f"{metric}-seen" if config.data.unseen_classes else metric


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """The lines in the order in which they were written; a last line that a kill cut off is left out.

    Raises:
        UserError: the file is missing, or not what a run writes.
    """
    file = Path(run_dir) / METRICS_FILE
    try:
        texts = file.read_text().splitlines()
        if texts and texts[-1].startswith("{") and not texts[-1].endswith("}"):
            texts.pop()
        lines = [json.loads(text) for text in texts]
        if not all(_has_step(line) for line in lines):
            raise ValueError("a line without step")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: not the metrics of a run ({error}); name a run folder") from None
    return lines


def repair_metrics(run_dir: str | Path, say: Callable[[str], None]) -> None:
    """Leaves only whole lines in the file, so that a run can go on writing it.

    A last line that was cut off is dropped. If other lines cannot be read, the file as it was is kept as
    `metrics.damaged.jsonl`, and that is said.

    Raises:
        UserError: the file cannot be read or written.
    """
    file = Path(run_dir) / METRICS_FILE
    content = _content(file)
    *lines, rest = content.split(b"\n")
    whole = [line for line in lines if _parsed(line) is not None]
    if len(whole) < len(lines):
        with atomic_write(file.with_name(DAMAGED_FILE)) as copy:
            copy.write_bytes(content)
        say(
            f"{file}: {len(lines) - len(whole)} of {len(lines)} lines cannot be read and were left out; the file as it "
            f"was is {DAMAGED_FILE}"
        )
    if rest or len(whole) < len(lines):
        _replace(file, whole)


def drop_later_metrics(run_dir: str | Path, step: int) -> None:
    """Removes the lines of later steps, which a run that goes on from `step` writes again."""
    file = Path(run_dir) / METRICS_FILE
    lines = _content(file).splitlines()
    kept = [line for line in lines if (parsed := _parsed(line)) is not None and parsed["step"] <= step]
    if len(kept) < len(lines):
        _replace(file, kept)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None


def _replace(file: Path, lines: list[bytes]) -> None:
    with atomic_write(file) as unfinished:
        unfinished.write_bytes(b"".join(line + b"\n" for line in lines))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return parsed if _has_step(parsed) else None


def _has_step(line: Any) -> bool:
    return isinstance(line, dict) and isinstance(line.get("step"), int)
