"""Cache of loaded models for functions that take a model by name."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from zip_keras.inference.model_files import find_model

Model = TypeVar("Model")
Runner = TypeVar("Runner")


class KeptModels(Generic[Model, Runner]):
    """LRU cache of runners by model and options. A model is reloaded when its files change.

    Args:
        count: maximum number of runners in the cache.
    """

    def __init__(self, count: int = 4):
        self._count, self._lock = count, threading.Lock()
        self._runners: OrderedDict[Hashable, Runner] = OrderedDict()

    def get(self, model: Model | str | Path, options: Hashable, make: Callable[[Model | Path], Runner]) -> Runner:
        """Return the cached runner of a model with these options, or make it.

        Args:
            model: a model, or the name or path of one, see `find_model`.
            options: the remaining part of the cache key.
            make: makes the runner from the model or from its path.

        Raises:
            UserError: the model does not exist.
        """
        found: Model | Path = find_model(model).resolve() if isinstance(model, str | Path) else model
        key = (found, _stamp(found) if isinstance(found, Path) else None, options)
        with self._lock:
            runner = self._runners.pop(key, None) or make(found)
            self._runners[key] = runner
            while len(self._runners) > self._count:
                self._runners.popitem(last=False)
        return runner

    def __len__(self) -> int:
        return len(self._runners)


def _stamp(path: Path) -> tuple:
    """Names, modification times and sizes of a model's files, to detect changes."""
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
