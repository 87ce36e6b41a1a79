"""What several commands print and write."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zip_keras.utils.files import atomic_write

ABSENT = "no such object"  # in place of a number that the data does not define


def print_numbers(numbers: Mapping[str, float | None]) -> None:
    """A line a number; NaN and None where the data has no such object."""
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {ABSENT if value is None or math.isnan(value) else f'{value:.4f}'}")


def print_counts(counts: Mapping[str, int], what: str) -> None:
    """A line for each kind of thing that was left out: `  WHAT: KIND: COUNT`."""
    for kind, count in counts.items():
        print(f"  {what}: {kind}: {count}")


def print_row(*cells: str) -> None:
    """A row of a Markdown table."""
    print(f"| {' | '.join(cells)} |")


def in_words(fact: Any) -> str:
    """A count, or what was left out by kind: `3 boxes outside the image`."""
    if isinstance(fact, dict):
        return ", ".join(f"{count} {kind}" for kind, count in fact.items()) or "none"
    return str(fact)


def without_nan(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """json has no NaN: a size of which the data has no object becomes null."""
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def write_json(file: str | Path, content: Mapping[str, Any]) -> None:
    """Raises `UserError` if the file cannot be written."""
    with atomic_write(file) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def command_line(name: str) -> str:
    """How this process was started, for another command: `zip-keras NAME`, `python scripts/NAME.py`, ..."""
    program = Path(sys.argv[0])
    if program.name == "zip-keras":
        return f"zip-keras {name}"
    if program.suffix == ".py" and (program.parent / "_door.py").is_file():
        return f"python {program.parent / name}.py"
    return f"python -m zip_keras {name}"
