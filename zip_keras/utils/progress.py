"""Progress and notes on standard error: a bar where tqdm is installed, else a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

QUIET_EVERY = 30.0  # seconds between lines where standard error is no terminal
PLAIN_EVERY = 10.0  # seconds between lines without tqdm (the core install has none)
BUILDING = "building the graph ..."

Item = TypeVar("Item")

_verbosity = 0


def set_verbosity(level: int) -> None:
    """Sets how much this process writes to standard error: -1 errors alone, 0 progress and notes, 1 also details."""
    global _verbosity
    _verbosity = level


def verbosity() -> int:
    """What `set_verbosity` set last; 0 by default."""
    return _verbosity


def note(text: str) -> None:
    """One line on standard error, unless the process is quiet."""
    if _verbosity >= 0:
        print(text, file=sys.stderr, flush=True)


def with_progress(
    items: Iterable[Item], total: int, unit: str = "image", first: str | None = None, done: int = 0
) -> Iterator[Item]:
    """`items`, and on standard error how many of `total` are done and how fast.

    Args:
        items: what is worked on.
        total: how many there are, those done before included.
        unit: what one of them is called.
        first: a note while the first item is worked on, for example that TensorFlow builds a graph. The bar starts
            after that item, so that nothing else is written into its line.
        done: items that were done before.
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
    """Seconds between two states of a bar: short on a terminal, long in a log file."""
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
