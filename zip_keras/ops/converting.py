"""Conversion target of a graph while it is traced: it restricts the operations to those that the target supports."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Target = Literal["onnx", "litert"]
_TARGET: ContextVar[Target | None] = ContextVar("target", default=None)


@contextmanager
def converting(target: Target) -> Iterator[None]:
    """Context in which graphs are traced for conversion to `target`. TensorFlow graphs traced outside are faster."""
    token = _TARGET.set(target)
    try:
        yield
    finally:
        _TARGET.reset(token)


def conversion_target() -> Target | None:
    """The conversion target of the graph being traced; None if it stays a TensorFlow graph."""
    return _TARGET.get()
