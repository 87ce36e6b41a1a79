import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import scenes`


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of detections, ground truth and published numbers."""
    folder = Path(os.environ.get("ZIP_KERAS_DATA", "data")) / "eval_reference"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: set ZIP_KERAS_DATA to the folder that holds eval_reference")
    return folder


@pytest.fixture(scope="session")
def voc() -> Path:
    """The VOC 2007 devkit."""
    folder = Path(os.environ.get("ZIP_KERAS_DATA", "data")) / "voc07"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: set ZIP_KERAS_DATA to the folder that holds voc07")
    return folder
