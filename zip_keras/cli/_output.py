"""What several commands print and write."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zip_keras.evaluation.bootstrap import Comparison
from zip_keras.utils.files import atomic_write

ABSENT = "no such object"  # in place of a number that the data does not define


def print_numbers(numbers: Mapping[str, float | None]) -> None:
    """A line a number; NaN and None where the data has no such object."""
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {ABSENT if value is None or math.isnan(value) else f'{value:.4f}'}")


def print_columns(rows: Mapping[str, Mapping[str, float]]) -> None:
    """A row for each key, a column for each number; whole numbers without digits, `-` where the data has no object."""
    names = list(next(iter(rows.values()), {}))
    width = max([10, *(len(key) + 1 for key in rows)])
    print("  " + " " * width + "".join(f"{name:>11}" for name in names))
    for key, row in rows.items():
        print(f"  {key:<{width}}" + "".join(f"{cell(row[name]):>11}" for name in names))


def cell(value: float) -> str:
    """A number in a table."""
    return str(value) if isinstance(value, int) else "-" if math.isnan(value) else f"{value:.4f}"


def sentence(name_a: str, name_b: str, comparison: Comparison, metric: str) -> str:
    """The verdict in words: the better one, the difference with its interval, and p."""
    bounds = comparison.difference
    if bounds.low <= 0 <= bounds.high:
        return f"{name_a} and {name_b} cannot be told apart: {metric} differs by {bounds}, p = {comparison.p:.4f}"
    better, worse = (name_a, name_b) if bounds.value > 0 else (name_b, name_a)
    low, high = sorted((abs(bounds.low), abs(bounds.high)))
    size = f"{abs(bounds.value):.4f} [{low:.4f}, {high:.4f}]"
    return f"{better} is better than {worse} by {size} {metric}, p = {comparison.p:.4f}"


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


def save_figure(file: str, figure: Any) -> None:
    """A Matplotlib figure as .png, .svg or .pdf; says where it is."""
    with atomic_write(file) as unfinished:
        figure.savefig(unfinished, format=Path(file).suffix.lstrip(".").lower(), dpi=110)
    print(f"  curves: {file}")


def command_line(name: str) -> str:
    """How this process was started, for another command: `zip-keras NAME`, `python scripts/NAME.py`, ..."""
    program = Path(sys.argv[0])
    if program.name == "zip-keras":
        return f"zip-keras {name}"
    if program.suffix == ".py" and (program.parent / "_door.py").is_file():
        return f"python {program.parent / name}.py"
    return f"python -m zip_keras {name}"
