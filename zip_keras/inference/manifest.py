"""`assets.extra/manifest.json` of an export: its model config, package versions and the SHA-256 of each file.

`{"files": {"saved_model.pb": SHA-256, ...}, "model": model config, "versions": package versions, "time": ...}`
"""

import json
import time
from pathlib import Path, PurePosixPath
from typing import Any

from zip_keras.errors import UserError
from zip_keras.utils.digests import check_sha256, sha256
from zip_keras.utils.environment import versions

MANIFEST_FILE = Path("assets.extra") / "manifest.json"


def write_manifest(folder: Path, model: dict[str, Any]) -> None:
    """Write the manifest of an export.

    Args:
        folder: folder of one version, complete except for the manifest.
        model: the model's config as plain values.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MANIFEST_FILE)
    content = {
        "files": {file.relative_to(folder).as_posix(): sha256(file) for file in files},
        "model": model,
        "versions": versions(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    (folder / MANIFEST_FILE).parent.mkdir(exist_ok=True)
    (folder / MANIFEST_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of an export.

    Raises:
        UserError: the manifest is missing or damaged.
    """
    file = folder / MANIFEST_FILE
    if not file.is_file():
        raise UserError(f"{folder}: not a SavedModel of zip-keras export ({MANIFEST_FILE} is missing); export it again")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        paths = [PurePosixPath(name) for name in content["files"]]
        if not paths or any(path.is_absolute() or ".." in path.parts for path in paths):
            raise ValueError("its files are not those of the export")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: damaged ({error}); export the model again") from None
    return content


def check_manifest(folder: Path) -> dict[str, Any]:
    """Check every file of an export against its manifest and return the manifest.

    Raises:
        UserError: a file is missing or differs.
    """
    content = read_manifest(folder)
    for name, digest in content["files"].items():
        check_sha256(folder / name, digest, folder / MANIFEST_FILE)
    return content
