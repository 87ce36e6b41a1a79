"""`zip_keras.propose` and `zip_keras.draw`: every form of an image, and what they refuse."""

import doctest
import importlib
import os

import numpy as np
import pytest
from PIL import Image

import zip_keras
from zip_keras.errors import UserError
from zip_keras.inference.images import as_rgb
from zip_keras.inference.kept import KeptModels
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.propose import _runner
from zip_keras.inference.runner import InferenceRunner


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.mark.parametrize(
    "module",
    ["boxes", "draw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("detect", "propose"))],
)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"zip_keras.inference.{module}"), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 3
    assert result.failed == 0


class TestImages:
    def test_the_same_picture_in_every_form(self, small_proposer, image, tmp_path):
        Image.fromarray(image).save(tmp_path / "photo.png")
        forms = [tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(image), image]
        results = zip_keras.propose(small_proposer, forms)
        expected = InferenceRunner(small_proposer)(image)
        assert len(results) == 4
        for found in results:
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.levels, expected.levels)

    def test_sizes_may_differ_and_boxes_are_of_their_own_image(self, small_proposer, image):
        wide = np.concatenate([image] * 3, axis=1)
        results = zip_keras.propose(small_proposer, (picture for picture in (image, wide)))
        for found, picture in zip(results, (image, wide), strict=True):
            np.testing.assert_array_equal(found.boxes, InferenceRunner(small_proposer)(picture).boxes)
        assert results[1].boxes[:, 3].max() > 120 >= results[0].boxes[:, 3].max()

    def test_a_batch_is_a_list_of_its_images(self, small_proposer, image):
        one, other = zip_keras.propose(small_proposer, np.stack([image, image[::-1]]), max_proposals=5)
        assert (len(one), len(other)) == (5, 5)
        assert not np.array_equal(one.boxes, other.boxes)
        assert zip_keras.propose(small_proposer, []) == []

    @pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
    def test_pillow_modes_of_8_bits_become_rgb(self, image, mode):
        given = Image.fromarray(image).convert(mode)
        np.testing.assert_array_equal(as_rgb(given), np.asarray(given.convert("RGB")))

    def test_transparency_is_dropped_as_in_files(self, image, tmp_path):
        hidden = Image.fromarray(np.dstack([image, np.zeros_like(image[..., 0])]))
        hidden.save(tmp_path / "hidden.png")
        np.testing.assert_array_equal(as_rgb(hidden), image)
        np.testing.assert_array_equal(as_rgb(tmp_path / "hidden.png"), image)

    def test_orientation_is_not_applied_whichever_way_an_image_comes(self, image, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees
        Image.fromarray(image).save(tmp_path / "turned.jpg", exif=exif)
        assert (
            as_rgb(tmp_path / "turned.jpg").shape == as_rgb(Image.open(tmp_path / "turned.jpg")).shape == (90, 120, 3)
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda i: i / 255.0, r"float64 values from 0 to 1; images are 0\.\.255: \(image \* 255\)"),
            (lambda i: i.astype("float32"), r"an array of float32; it must be uint8"),
            (lambda i: i[..., 0], r"shape \[90, 120\]; it must end in H, W, 3 .* np\.stack\(\[image\] \* 3, axis=-1\)"),
            (lambda i: i[..., :1], r"has 1 channels; .* np\.repeat\(image, 3, axis=-1\)"),
            (lambda i: np.dstack([i, i[..., :1]]), r"has 4 channels; .* image\[\.\.\., :3\]"),
            (
                lambda i: np.moveaxis(i, -1, 0),
                r"shape \[3, 90, 120\] has 120 channels; .* np\.moveaxis\(image, -3, -1\)",
            ),
            (lambda i: i[:0], r"shape \[0, 120, 3\]; height and width must be at least 1"),
            (lambda i: Image.fromarray(i[..., 0].astype("uint16")), r"mode I;16, which holds more than 8 bits"),
            (lambda i: Image.fromarray(i[..., 0].astype("float32")), r"mode F, which holds more than 8 bits"),
            (lambda i: "none.jpg", r"none\.jpg: cannot be read"),
            (lambda i: 7, r"images: a int; give a path"),
            (lambda i: [7], r"image: a int; give a path"),
            (lambda i: [i, i[..., :1]], r"images\[1\]: shape"),
        ],
    )
    def test_what_is_refused(self, small_proposer, image, change, message):
        with pytest.raises(UserError, match=message):
            zip_keras.propose(small_proposer, change(image))

    def test_a_folder_is_refused_with_the_way_out(self, small_proposer, tmp_path):
        with pytest.raises(UserError, match=r"a folder; give its images: .*glob"):
            zip_keras.propose(small_proposer, tmp_path)


class TestProposer:
    def test_images_that_are_none_are_refused(self, small_proposer, image):
        with pytest.raises(UserError, match=r"images of shape \[1, 90, 120, 1\]: a Proposer takes RGB"):
            small_proposer(image[None, ..., :1])
        with pytest.raises(UserError, match=r"images of shape \[90, 120, 3\]: a Proposer takes RGB"):
            small_proposer(image)
        with pytest.raises(UserError, match=r"values from 0 to 1: a Proposer takes 0\.\.255"):
            small_proposer(image[None] / 255.0)

    def test_floats_of_the_full_range_and_black_images_are_taken(self, small_proposer, image):
        whole = small_proposer(image[None])
        np.testing.assert_array_equal(small_proposer(image[None].astype("float32"))["boxes"], whole["boxes"])
        assert small_proposer(np.zeros((1, 64, 64, 3), "float32"))["boxes"].shape == (1, 50, 4)


class TestLoadedModels:
    @pytest.fixture(autouse=True)
    def two_are_kept(self, monkeypatch):
        monkeypatch.setattr("zip_keras.inference.propose._RUNNERS", KeptModels(2))

    def test_a_model_by_name_stays_loaded_until_its_file_changes(self, small_run, tmp_path):
        plain = InferenceOptions()
        file = tmp_path / "best.keras"
        file.write_bytes((small_run / "last.keras").read_bytes())
        first = _runner(file, plain)
        assert _runner(tmp_path, plain) is first  # the run folder's name for it
        assert _runner(str(file), InferenceOptions(max_proposals=7)) is first
        os.utime(file, ns=(1, 1))
        assert _runner(file, plain) is not first

    def test_options_longer_lists_and_forgotten_models(self, small_proposer):
        plain = _runner(small_proposer, InferenceOptions())
        longer = _runner(small_proposer, InferenceOptions(max_proposals=200))
        assert (plain.output_size, longer.output_size) == (50, 200)
        assert _runner(small_proposer, InferenceOptions()) is plain
        _runner(small_proposer, InferenceOptions(flip=True))  # the third: the longer one was used least recently
        assert _runner(small_proposer, InferenceOptions()) is plain
        assert _runner(small_proposer, InferenceOptions(max_proposals=200)) is not longer

    def test_no_such_model(self, image):
        with pytest.raises(UserError, match="no such model"):
            zip_keras.propose("none", image)


class TestDrawing:
    def found(self):
        boxes = np.float32([[10, 10, 60, 60], [12, 12, 62, 62], [10, 70, 60, 110]])
        return zip_keras.Boxes(boxes, np.float32([0.9, 0.8, 0.7]), np.int32([3, 3, 1]))

    def test_near_duplicates_and_low_scores_are_left_out(self, image):
        """The second box overlaps the first by IoU .85, the third has .78 of the best score."""
        few, all_of_them = (np.asarray(zip_keras.draw(image, self.found(), iou=iou)) for iou in (0.5, 1.0))
        assert few[12, 30].tolist() == image[12, 30].tolist()
        assert all_of_them[12, 30].tolist() == [60, 200, 60]
        best = np.asarray(zip_keras.draw(image, self.found(), share=0.8))
        assert best[30, 70].tolist() == image[30, 70].tolist()
        assert few[30, 70].tolist() == [30, 144, 255]

    def test_the_picture_is_returned_and_saved(self, image, tmp_path):
        picture = zip_keras.draw(image, self.found(), tmp_path / "found.png")
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "found.png")), np.asarray(picture))
        assert picture.getpixel((30, 10)) == (60, 200, 60)  # level 3
        assert picture.getpixel((90, 10)) == (30, 144, 255)  # level 1

    def test_a_file_that_cannot_be_written(self, image, tmp_path):
        for name in ("none/found.png", "found.unknown"):
            with pytest.raises(UserError, match=f"{name}: cannot be written"):
                zip_keras.draw(image, self.found(), tmp_path / name)
