"""Makes the project's classes known to Keras without importing Keras for those who do not use it.

`keras.models.load_model` finds a class only after the module that registers it was imported. Importing the models from
`zip_keras/__init__.py` would do, but would cost every command and worker process the seconds and the memory of
TensorFlow, also those that only read annotations or measure files. So they are imported with Keras: at once where it is
loaded already, else right after it is.
"""

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_REGISTERING = "zip_keras.models.proposer"  # imports every layer and model that a saved file can name


def register_with_keras() -> None:
    """Registers the classes now, or as soon as Keras is imported."""
    if "keras" in sys.modules:
        importlib.import_module(_REGISTERING)
    else:
        sys.meta_path.insert(0, _KerasWatch())


class _KerasWatch(MetaPathFinder):
    """Lets the usual finders find Keras and the project's modules, and adds a step to their execution.

    The project's modules import Keras themselves: one that is half executed then cannot be imported by those that
    register. So the step waits for the outermost of these imports to end.
    """

    def __init__(self) -> None:
        self._searching = False
        self._executing = 0

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if self._searching or not (fullname == "keras" or fullname.startswith("zip_keras.")):
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                self._executing += 1
                try:
                    execute(module)
                finally:
                    self._executing -= 1
                if self._executing == 0 and "keras" in sys.modules and self in sys.meta_path:
                    sys.meta_path.remove(self)
                    importlib.import_module(_REGISTERING)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
