"""`metrics.jsonl` of a run folder: one line per log entry and per evaluation. Without TensorFlow."""

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
    """The metric that selects the best model: AR@100, or AP50 for detectors; of seen classes if some are unseen."""
    metric = "AR@100" if config.detector.kind == "none" else "AP50"
    return f"{metric}-seen" if config.data.unseen_classes else metric


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """The lines in the order in which they were written; an incomplete last line is dropped.

    Raises:
        UserError: the file is missing, or is not the metrics file of a run.
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
    """Remove incomplete lines from the file, so that a run can continue to write it.

    An incomplete last line is dropped. If other lines cannot be read, the original file is kept as
    `metrics.damaged.jsonl` and a message is printed.

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
    """Remove the lines of steps after `step`; a run that resumes from `step` writes them again."""
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
