"""`exported/NAME/serving/`: configuration of TensorFlow Serving, Docker Compose and Kubernetes for an export.

The files are stored beside the versions because users edit them, and later versions are served with the same files.
"""

import os
import re
import shutil
from pathlib import Path
from string import Template

from zip_keras.errors import UserError
from zip_keras.utils.environment import versions

FOLDER = "serving"  # not an integer, so TensorFlow Serving ignores it
_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # safe in paths, URLs and configs


def write_deployment(folder: str | Path) -> Path | None:
    """Write `folder`/serving/ atomically.

    Args:
        folder: `exported/NAME`; NAME becomes the name of the served model.

    Returns:
        The new folder; None if it exists already, in which case it is left unchanged.

    Raises:
        UserError: NAME is no valid model name, or the folder cannot be written.
    """
    base = Path(folder)
    name = check_name(base)
    target = base / FOLDER
    if target.exists():
        return None
    values = {
        "name": name,
        "service": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),  # a valid DNS label
        "tensorflow": versions()["tensorflow"],
    }
    unfinished = base / f".{FOLDER}.{os.getpid()}.part"
    try:
        unfinished.mkdir(parents=True)
        for template in sorted(_TEMPLATES.iterdir()):
            text = Template(template.read_text(encoding="utf-8")).substitute(values)
            (unfinished / template.name).write_text(text, encoding="utf-8")
        os.rename(unfinished, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def check_name(folder: str | Path) -> str:
    """The name of a folder of versions, which becomes the name of the served model.

    Raises:
        UserError: the name has characters that would need quoting in URLs and configuration files.
    """
    name = Path(folder).resolve().name
    if not _NAME.fullmatch(name):
        raise UserError(f"{folder}: {name!r} cannot name a served model; use letters, digits, '-', '_' and '.'")
    return name
