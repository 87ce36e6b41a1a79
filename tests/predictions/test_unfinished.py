"""What a stopped prediction leaves."""

import numpy as np
import pytest

from zip_keras.errors import UserError
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.unfinished import UnfinishedPredictions, image_key


@pytest.fixture
def parts():
    proposals, rng = Predictions(), np.random.default_rng(0)
    for image_id in (1, "b", 3):
        proposals.add(image_id, np.sort(rng.random((4, 4)), axis=1)[:, [0, 1, 2, 3]], rng.random(4))
    return list(proposals)


@pytest.fixture
def left(tmp_path, parts):
    """The file of two images that are done."""
    unfinished = UnfinishedPredictions(tmp_path / "out.json", {"model": "a"})
    for part in parts[:2]:
        unfinished.add(str(part.image_id), part)
    return unfinished.path


def again(tmp_path, model="a"):
    return UnfinishedPredictions(tmp_path / "out.json", {"model": model})


def test_another_process_continues(left, tmp_path, parts):
    continued = again(tmp_path)
    assert ("1" in continued, "b" in continued, "3" in continued) == (True, True, False)
    continued.add("3", parts[2])
    read = list(again(tmp_path).over(["3", "b", "not there", "1"]))
    for part, expected in zip(read, [parts[2], parts[1], parts[0]], strict=True):
        assert part.image_id == expected.image_id
        for name in ("xywh", "scores", "categories", "levels"):
            np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))


def test_a_line_that_was_cut_short_is_done_again(left, tmp_path, parts):
    whole = left.read_bytes()
    for cut in (1, 40):
        left.write_bytes(whole[:-cut])
        continued = again(tmp_path)
        assert ("1" in continued, "b" in continued) == (True, False)
        continued.add("b", parts[1])
        assert left.read_bytes() == whole


def test_a_changed_byte_is_noticed(left, tmp_path):
    content = bytearray(left.read_bytes())
    content[-30] ^= 1
    left.write_bytes(content)
    assert "b" not in again(tmp_path)


def test_another_model_starts_anew(left, tmp_path, parts):
    other = again(tmp_path, "b")
    assert len(other) == 0
    assert len(again(tmp_path)) == 2  # nothing is lost until the first image is done
    other.add("3", parts[2])
    assert (len(again(tmp_path, "b")), len(again(tmp_path))) == (1, 0)


def test_two_processes_at_once_are_noticed(left, tmp_path, parts):
    first, second = again(tmp_path), again(tmp_path)
    first.add("3", parts[2])
    second.add("other", parts[0])  # truncates what the first wrote
    with pytest.raises(UserError, match="was changed by another process"):
        list(first.over(["3"]))


def test_a_repaired_image_is_another(tmp_path):
    file = tmp_path / "a.jpg"
    missing = image_key(1, str(file), 0)
    file.write_bytes(b"1")
    there = image_key(1, str(file), 0)
    file.write_bytes(b"12")
    assert len({missing, there, image_key(1, str(file), 0), image_key(1, str(file), 5)}) == 4
