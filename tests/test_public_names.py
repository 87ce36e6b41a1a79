"""What `import zip_keras` promises. Each program runs in a process of its own."""

import os
import subprocess
import sys

import pytest

import zip_keras


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**{k: v for k, v in os.environ.items() if k != "ZIP_KERAS_LAZY"}, **environment},
    )
    return done.stdout.strip()


def test_every_public_name_is_there():
    for name in zip_keras.__all__:
        assert name == "DEFAULT_PRESET" or getattr(zip_keras, name).__name__ == name
    assert zip_keras.DEFAULT_PRESET in zip_keras.list_presets()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        zip_keras.Nothing  # noqa: B018


def test_a_lazy_import_loads_no_framework():
    """Commands that read annotations or measure files start in a moment, and so do their worker processes."""
    program = "import sys, zip_keras; print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))"
    assert run(program, ZIP_KERAS_LAZY="1") == "set()"


@pytest.mark.parametrize(
    "order",
    [
        "import keras, zip_keras",
        pytest.param("import zip_keras, keras", marks=pytest.mark.slow),
        pytest.param("import zip_keras.ops.boxes, keras", marks=pytest.mark.slow),
    ],
)
def test_keras_knows_the_classes_in_any_import_order(order):
    """Without a hook of ours in the importer."""
    program = (
        f"import sys\n{order}\n"
        "print('zip_keras>Proposer' in keras.saving.get_custom_objects(), keras.__spec__.name, "
        "[finder for finder in sys.meta_path if 'zip_keras' in type(finder).__module__])"
    )
    assert run(program) == "True keras []"
