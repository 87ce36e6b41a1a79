"""Models that stay loaded between calls, for functions that take a model by name."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from zip_keras.inference.model_files import find_model

Model = TypeVar("Model")
Runner = TypeVar("Runner")


class KeptModels(Generic[Model, Runner]):
    """What runs the last models, by model, its files and options; a model whose files changed is loaded again.

    Args:
        count: models that are kept, the last used ones.
    """

    def __init__(self, count: int = 4):
        self._count, self._lock = count, threading.Lock()
        self._runners: OrderedDict[Hashable, Runner] = OrderedDict()

    def get(self, model: Model | str | Path, options: Hashable, make: Callable[[Model | Path], Runner]) -> Runner:
        """The runner of a model with these options.

        Args:
            model: a model, or the name or path of one, see `find_model`.
            options: what else the runner depends on.
            make: loads it, from the model or from the path that was found.

        Raises:
            UserError: no such model.
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
    """Changes when a model is written again under its name."""
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
