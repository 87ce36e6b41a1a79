from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference(real_data) -> Path:
    """The folder of detections, ground truth and published numbers."""
    return real_data("eval_reference")
