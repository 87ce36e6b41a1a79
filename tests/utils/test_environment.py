import json

import pytest

from zip_keras.errors import UserError
from zip_keras.utils.environment import machine, note_environment, vector_units, versions


def test_the_newest_vector_units_count():
    assert vector_units({"sse2", "avx", "avx2", "avx512f", "avx512_bf16"}) == "AVX-512 with bf16"
    assert vector_units({"sse2", "avx", "avx2"}) == "AVX2"
    assert vector_units({"fp", "asimd"}) == "NEON"
    assert vector_units(set()) == "unknown"


def test_what_is_named_is_there():
    assert machine()["cores"] >= 1
    assert versions()["keras"][0].isdigit()


def test_an_output_says_what_made_it(tmp_path):
    file = note_environment(tmp_path / "boxes.npz", {"data": "d:val", "top": None})
    assert file == tmp_path / "boxes.environment.json"
    noted = json.loads(file.read_text())
    assert noted["made_by"] == {"data": "d:val", "top": None}
    assert noted["versions"] == versions()
    assert {"time", "command", "python", "machine", "cores"} <= noted.keys()
    assert note_environment(tmp_path, {}) == tmp_path / "environment.json"


def test_an_environment_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "folder").write_text("")
    with pytest.raises(UserError, match=r"environment\.json: cannot be written"):
        note_environment(tmp_path / "folder" / "boxes.npz", {})
