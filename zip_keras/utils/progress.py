"""Progress on standard error: a bar where tqdm is installed, else a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

QUIET_EVERY = 30.0  # seconds between lines where standard error is no terminal
PLAIN_EVERY = 10.0  # seconds between lines without tqdm (the core install has none)

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], total: int, unit: str = "image") -> Iterator[Item]:
    """`items`, and on standard error how many of `total` are done and how fast."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _plain_lines(items, total, unit)
        return
    interval = 0.5 if sys.stderr.isatty() else QUIET_EVERY
    bar: Any = tqdm(items, total=total, unit=unit, file=sys.stderr, mininterval=interval, dynamic_ncols=True)
    yield from bar


def _plain_lines(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    started = said = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said >= PLAIN_EVERY or number == total:
            said = now
            speed = number / max(now - started, 1e-9)
            print(f"{number} of {total} {unit}s, {speed:.1f} a second", file=sys.stderr, flush=True)
