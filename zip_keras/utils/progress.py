"""Progress and notes on standard error: a bar if tqdm is installed, otherwise a line at intervals."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

QUIET_EVERY = 30.0  # seconds between lines if standard error is no terminal
PLAIN_EVERY = 10.0  # seconds between lines without tqdm, which the core install lacks
BUILDING = "building the graph ..."

Item = TypeVar("Item")

_verbosity = 0


def set_verbosity(level: int) -> None:
    """Set how much this process writes to standard error: -1 only errors, 0 progress and notes, 1 also details."""
    global _verbosity
    _verbosity = level


def verbosity() -> int:
    """The verbosity, see `set_verbosity`; 0 by default."""
    return _verbosity


def note(text: str) -> None:
    """Write one line to standard error, unless the process is quiet."""
    if _verbosity >= 0:
        print(text, file=sys.stderr, flush=True)


def with_progress(
    items: Iterable[Item], total: int, unit: str = "image", first: str | None = None, done: int = 0
) -> Iterator[Item]:
    """Iterate over `items` and show the progress and speed on standard error.

    Args:
        items: items to iterate over.
        total: total number of items, including `done`.
        unit: name of one item.
        first: note to show before the first item, for example that TensorFlow builds a graph. The bar starts after the
            first item, so that nothing else is written into its line.
        done: number of items completed earlier.
    """
    if _verbosity < 0:
        yield from items
        return
    started = time.monotonic()
    remaining = iter(items)
    if first is not None:
        note(first)
        try:
            item = next(remaining)
        except StopIteration:
            return
        yield item
        done += 1
    yield from _bar(remaining, total, unit, done) or _plain_lines(remaining, total, unit, done, started)


def bar_interval() -> float:
    """Update interval of a bar in seconds: short on a terminal, long in a log file."""
    return 0.5 if sys.stderr.isatty() else QUIET_EVERY


def _bar(items: Iterable[Item], total: int, unit: str, done: int) -> Any:
    """A bar over `items`; None without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(
        items,
        total=total,
        initial=done,
        unit=unit,
        file=sys.stderr,
        mininterval=bar_interval(),
        dynamic_ncols=True,
    )


def _plain_lines(items: Iterable[Item], total: int, unit: str, done: int, started: float) -> Iterator[Item]:
    said, number = started, done
    if done == total:
        _line(done, total, unit, started)
    for number, item in enumerate(items, done + 1):
        yield item
        now = time.monotonic()
        if now - said >= PLAIN_EVERY or number == total:
            said = now
            _line(number, total, unit, started)


def _line(number: int, total: int, unit: str, started: float) -> None:
    speed = number / max(time.monotonic() - started, 1e-9)
    print(f"{number} of {total} {unit}s, {speed:.1f} a second", file=sys.stderr, flush=True)
