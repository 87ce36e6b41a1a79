"""Output functions shared by several commands."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zip_keras.evaluation.bootstrap import Comparison
from zip_keras.utils.files import atomic_write

ABSENT = "no such object"  # shown for a metric that is undefined for the data


def print_numbers(numbers: Mapping[str, float | None]) -> None:
    """Print one number per line; NaN and None are shown as `ABSENT`."""
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {ABSENT if value is None or math.isnan(value) else f'{value:.4f}'}")


def print_columns(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table with a row per key and a column per number, formatted by `cell`."""
    names = list(next(iter(rows.values()), {}))
    width = max([10, *(len(key) + 1 for key in rows)])
    print("  " + " " * width + "".join(f"{name:>11}" for name in names))
    for key, row in rows.items():
        print(f"  {key:<{width}}" + "".join(f"{cell(row[name]):>11}" for name in names))


def cell(value: float) -> str:
    """Format a number for a table: integers as they are, floats with four decimals, `-` for NaN."""
    return str(value) if isinstance(value, int) else "-" if math.isnan(value) else f"{value:.4f}"


def sentence(name_a: str, name_b: str, comparison: Comparison, metric: str) -> str:
    """The result of a comparison in words: the better method, the difference with its interval, and p."""
    bounds = comparison.difference
    if bounds.low <= 0 <= bounds.high:
        return f"{name_a} and {name_b} cannot be told apart: {metric} differs by {bounds}, p = {comparison.p:.4f}"
    better, worse = (name_a, name_b) if bounds.value > 0 else (name_b, name_a)
    low, high = sorted((abs(bounds.low), abs(bounds.high)))
    size = f"{abs(bounds.value):.4f} [{low:.4f}, {high:.4f}]"
    return f"{better} is better than {worse} by {size} {metric}, p = {comparison.p:.4f}"


def print_counts(counts: Mapping[str, int], what: str) -> None:
    """Print a line per kind: `  WHAT: KIND: COUNT`."""
    for kind, count in counts.items():
        print(f"  {what}: {kind}: {count}")


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |")


def in_words(fact: Any) -> str:
    """Format a count, or counts by kind such as `3 boxes outside the image`."""
    if isinstance(fact, dict):
        return ", ".join(f"{count} {kind}" for kind, count in fact.items()) or "none"
    return str(fact)


def without_nan(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Replace NaN by None, because json has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def write_json(file: str | Path, content: Mapping[str, Any]) -> None:
    """Write a json file; raise `UserError` if it cannot be written."""
    with atomic_write(file) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def save_figure(file: str, figure: Any) -> None:
    """Save a Matplotlib figure as .png, .svg or .pdf and print its path."""
    with atomic_write(file) as unfinished:
        figure.savefig(unfinished, format=Path(file).suffix.lstrip(".").lower(), dpi=110)
    print(f"  curves: {file}")


def command_line(name: str) -> str:
    """The command line for another command in the form in which this process was started.

    For example `zip-keras NAME` or `python scripts/NAME.py`.
    """
    program = Path(sys.argv[0])
    if program.name == "zip-keras":
        return f"zip-keras {name}"
    if program.suffix == ".py" and (program.parent / "_door.py").is_file():
        return f"python {program.parent / name}.py"
    return f"python -m zip_keras {name}"
