import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import scenes`


@pytest.fixture(scope="session")
def reference(real_data) -> Path:
    """The folder of detections, ground truth and published numbers."""
    return real_data("eval_reference")
