import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a folder of real images, or skips the test."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("ZIP_KERAS_DATA", "data")) / name
        if not folder.is_dir():
            pytest.skip(f"{folder} is missing: set ZIP_KERAS_DATA to the folder that holds {name}")
        return folder

    return find
