"""Libraries that are installed on demand."""

import importlib
from typing import Any

from zip_keras.errors import UserError


def optional_import(module: str, needed_by: str, extra: str) -> Any:
    """Imports a library that belongs to one of the project's extras.

    Args:
        module: dotted name.
        needed_by: what the user asked for, for the message.
        extra: of setup.cfg.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UserError(f"{needed_by}: needs {name} ({error}): pip install 'zip-keras[{extra}]'") from None
