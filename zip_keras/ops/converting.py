"""Which operations a graph may hold while it is traced: TensorFlow's own, or only those that other runtimes have."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Target = Literal["onnx", "litert"]
_TARGET: ContextVar[Target | None] = ContextVar("target", default=None)


@contextmanager
def converting(target: Target) -> Iterator[None]:
    """Graphs that are traced inside can be converted to `target`; a TensorFlow graph is faster."""
    token = _TARGET.set(target)
    try:
        yield
    finally:
        _TARGET.reset(token)


def conversion_target() -> Target | None:
    """What the graph that is being traced will be converted to; None where it stays one of TensorFlow."""
    return _TARGET.get()
