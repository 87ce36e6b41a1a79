"""`metrics.jsonl` of a run folder: one line for each log and each evaluation. Without TensorFlow."""

import json
from pathlib import Path
from typing import Any

from zip_keras.errors import UserError

METRICS_FILE = "metrics.jsonl"


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
        if not all(isinstance(line.get("step"), int) for line in lines):
            raise ValueError("a line without step")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: not the metrics of a run ({error}); name a run folder") from None
    return lines
