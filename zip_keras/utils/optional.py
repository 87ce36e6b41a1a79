"""Import of optional dependencies."""

import importlib
from typing import Any

from zip_keras.errors import UserError


def optional_import(module: str, needed_by: str, extra: str) -> Any:
    """Import a module of one of the project's extras.

    Args:
        module: dotted name.
        needed_by: the feature that needs it, for the message.
        extra: name of the extra in setup.cfg.

    Raises:
        UserError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UserError(f"{needed_by}: needs {name} ({error}): pip install 'zip-keras[{extra}]'") from None
