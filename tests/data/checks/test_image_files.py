"""Image files left out before a training, as `prepare_data --on-bad-image skip` would."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from zip_keras.data.checks.image_files import without_bad_images
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError


def record_of(file, height=40, width=60):
    no = np.zeros(0, bool)
    return ImageRecord(
        file.stem, str(file), height, width, np.zeros((0, 4), np.float32), no.astype("int32"), no, no, no.astype("f4")
    )


@pytest.fixture
def dataset(tmp_path, encoded_image):
    whole = encoded_image("JPEG", 40, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "good.jpg").write_bytes(whole)
    (tmp_path / "gray.png").write_bytes(encoded_image("PNG", 40, 60, "L"))
    (tmp_path / "early.jpg").write_bytes(whole[: int(len(whole) * 0.7)] + b"\xff\xd9")
    (tmp_path / "text.jpg").write_bytes(b"no image")
    (tmp_path / "wide.jpg").write_bytes(encoded_image("JPEG", 40, 61))
    Image.new("RGB", (60, 40)).save(tmp_path / "turned.jpg", exif=exif)
    names = ("good.jpg", "early.jpg", "text.jpg", "gone.jpg", "wide.jpg", "turned.jpg", "gray.png")
    records = tuple(record_of(tmp_path / name) for name in names)
    return Dataset("made:bad", ("thing",), records, {"zero_size": 2, "broken_image": 1})


def test_bad_files_are_left_out_named_and_counted(dataset):
    sound, named = without_bad_images(dataset)
    assert [record.image_id for record in sound.records] == ["good", "gray"]
    kinds = {"broken_image": 3, "missing_image": 1, "size_mismatch": 1, "exif_rotated": 1}
    assert sound.skipped == {"zero_size": 2, **kinds}
    assert len(named) == 5
    assert any("early.jpg: the JPEG data end before the image does" in line for line in named)
    assert any("wide.jpg: is 61 x 40 pixels, its annotation says 60 x 40" in line for line in named)


def test_what_is_in_shards_is_not_read(dataset):
    in_shard = dataclasses.replace(dataset.records[3], length=7)
    sound, named = without_bad_images(dataclasses.replace(dataset, records=(in_shard,)))
    assert (sound.records, named) == ((in_shard,), [])


def test_nothing_left_is_an_error(dataset):
    with pytest.raises(UserError, match=r"made:bad: no image is left \(.*text\.jpg: not a readable image"):
        without_bad_images(dataclasses.replace(dataset, records=dataset.records[2:3]))
