"""`environment.json` of a run folder: what every start of the run was."""

import json
from pathlib import Path
from typing import Any

ENVIRONMENT_FILE = "environment.json"


def read_starts(run_dir: str | Path) -> list[dict[str, Any]]:
    """The starts of a run, first to last: `time`, `command`, `versions`, `images` (digest of the training data)."""
    file = Path(run_dir) / ENVIRONMENT_FILE
    return json.loads(file.read_text()) if file.exists() else []
