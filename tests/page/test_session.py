import json

import numpy as np
import pytest
from PIL import Image

from tests.page.conftest import BOXES, SCORES
from zip_keras.errors import UserError
from zip_keras.page.model import Choice, PageModel
from zip_keras.page.session import LONGEST, attention_picture, colourings, legend, picture, see, summary, write_files
from zip_keras.plots.colours import LEVEL_COLOURS
from zip_keras.predictions.formats import read_predictions


def test_files_hold_the_shown_boxes(proposer, encoded_image, tmp_path):
    seen = see(proposer.page, encoded_image("PNG", 80, 100), "000012 a.png")
    shown = Choice(2, 0, 0.5).of(seen.found)
    files = write_files(tmp_path, seen, shown, picture(seen, shown, "level", False))
    assert [file.name for file in files] == ["000012_a_boxes.json", "000012_a_boxes.csv", "000012_a_boxes.jpg"]
    rows = json.loads(files[0].read_text())
    assert [row["bbox"] for row in rows] == [[0, 0, 40, 20], [40, 40, 40, 20]]
    assert [(row["image_id"], row["category_id"], row["level"]) for row in rows] == [
        ("000012 a", 1, 3),
        ("000012 a", 1, 1),
    ]
    table = read_predictions(str(files[1]))["000012 a"]
    np.testing.assert_array_equal(table.boxes, BOXES[[0, 2]])
    np.testing.assert_allclose(table.scores, SCORES[[0, 2]])
    assert Image.open(files[2]).width == 100


def test_detections_keep_their_categories(detector, encoded_image, tmp_path):
    seen = see(detector.page, encoded_image("PNG", 80, 100), "7.png")
    shown = Choice(4, 0, 1).of(seen.found)
    file = write_files(tmp_path, seen, shown, picture(seen, shown, "class", False))[0]
    assert [(row["image_id"], row["category_id"]) for row in json.loads(file.read_text())] == [
        (7, 1),
        (7, 2),
        (7, 2),
        (7, 1),
    ]


def test_a_large_photograph_is_drawn_small_and_measured_large(proposer, encoded_image):
    seen = see(proposer.page, encoded_image("JPEG", 40, 2 * LONGEST), "wide.jpg")
    drawn = np.asarray(picture(seen, seen.found.take(np.array([0])), "level", False))
    assert drawn.shape[1] == LONGEST
    blue = (drawn[:10, :30] == LEVEL_COLOURS[3]).all(axis=-1)
    assert blue[:, 19].any()  # the right edge, 40 in the photograph
    assert f"wide.jpg, {2 * LONGEST} x 40 pixels" in summary(seen, seen.found, Choice(4, 0, 1))


def test_colours_and_their_legend(proposer, detector, encoded_image):
    data = encoded_image("PNG", 80, 100)
    seen = see(proposer.page, data, "a.png")
    assert colourings(proposer.page) == ("level", "rank")
    assert legend(seen.found, "level") == [
        (LEVEL_COLOURS[1], "level 1: 2"),
        (LEVEL_COLOURS[2], "level 2: 1"),
        (LEVEL_COLOURS[3], "level 3: 1"),
    ]
    assert legend(seen.found, "rank") == [((255, 0, 0), "the best"), ((0, 0, 255), "the last")]
    assert legend(seen.found.head(0), "rank") == legend(seen.found.head(0), "level") == []
    found = see(detector.page, data, "a.png").found
    assert colourings(detector.page) == ("class", "level")
    assert legend(found, "class") == [((255, 0, 0), "cat: 2"), ((0, 0, 255), "<i>dog</i>: 2")]
    for model, colours in ((proposer, "rank"), (detector, "class"), (detector, "level")):
        drawn = np.asarray(picture(see(model.page, data, "a.png"), model.found, colours, True))
        assert all((drawn[:80] == colour).all(axis=-1).any() for colour, _ in legend(model.found, colours))


def test_the_line_says_what_is_shown(proposer, detector, encoded_image):
    seen = see(proposer.page, encoded_image("PNG", 80, 100), "a.png")
    assert summary(seen, seen.found.head(2), Choice(2, 0, 1)).startswith("2 of 4 proposals · a.png, 100 x 80 pixels · ")
    seen = see(detector.page, encoded_image("PNG", 80, 100), "a.png")
    assert summary(seen, seen.found.head(1), Choice(2, 0.5, 1)).startswith("1 detection, score 0.5 or more · a.png")


def test_maps_as_a_picture(proposer, encoded_image):
    seen = see(proposer.page, encoded_image("PNG", 80, 100), "a.png")
    drawn = attention_picture(proposer.page, seen)
    assert drawn.dtype == np.uint8
    assert drawn.shape[1:] == (1600, 3)
    without = PageModel("plain", None, proposer.look, Choice(1, 0, 1), 4, None)
    with pytest.raises(UserError, match="plain: has no map attention"):
        attention_picture(without, seen)
