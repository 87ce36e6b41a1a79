"""An export is loaded only as it was written."""

import hashlib
import json
import shutil

import pytest

from zip_keras.errors import UserError
from zip_keras.inference.loading import load_keras_proposer, load_proposer
from zip_keras.inference.manifest import MANIFEST_FILE, check_manifest, write_manifest


@pytest.fixture
def export(small_export, tmp_path):
    return shutil.copytree(small_export / "1", tmp_path / "1")


def test_it_lists_every_file_and_what_the_model_is(export, small_proposer):
    content = check_manifest(export)
    files = {file.relative_to(export).as_posix(): file for file in export.rglob("*") if file.is_file()}
    assert content["files"].keys() == files.keys() - {MANIFEST_FILE.as_posix()}
    for name, digest in content["files"].items():
        assert digest == hashlib.sha256(files[name].read_bytes()).hexdigest()
    assert content["model"]["postprocess"]["max_proposals"] == small_proposer.postprocess_config.max_proposals
    assert content["versions"]["keras"]


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "assets.extra/proposer.keras"])
@pytest.mark.parametrize("load", [load_proposer, load_keras_proposer])
def test_a_changed_bit_and_a_missing_file_are_named(export, name, load):
    content = bytearray((export / name).read_bytes())
    content[len(content) // 2] ^= 1
    (export / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: not the file that was written \(its SHA-256 begins with"):
        load(export)
    (export / name).unlink()
    if name != "saved_model.pb":  # without it the folder is no model at all
        with pytest.raises(UserError, match=rf"{name}: (cannot be read|missing)"):
            load(export)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"files": {}}', '{"files": {"../x": "0"}}', "[" * 100_000])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    (tmp_path / "assets.extra").mkdir()
    with pytest.raises(UserError, match=r"not a SavedModel of zip-keras export \(assets\.extra/manifest\.json"):
        check_manifest(tmp_path)
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        check_manifest(tmp_path)


def test_what_it_says_is_json(tmp_path):
    (tmp_path / "a").write_text("x")
    write_manifest(tmp_path, {"short_sides": (1, 2)})
    assert json.loads((tmp_path / MANIFEST_FILE).read_text())["model"] == {"short_sides": [1, 2]}
