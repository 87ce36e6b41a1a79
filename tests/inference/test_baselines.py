"""Baselines: boxes inside the image, in a fixed order, and the command around them."""

import json

import numpy as np
import pytest

from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.inference import baselines

IMAGE = np.zeros((120, 200, 3), np.uint8)
IMAGE[30:80, 40:120] = (200, 40, 40)


def inside(boxes, image):
    height, width = image.shape[:2]
    return bool(
        (boxes[:, :2] >= 0).all()
        and (boxes[:, 2:] <= (height + 1e-3, width + 1e-3)).all()
        and (boxes[:, 2:] > boxes[:, :2]).all()
    )


@pytest.mark.parametrize("method", ["sliding-windows", "random-anchors"])
def test_windows_and_anchors_lie_inside_and_repeat(method):
    boxes = baselines.METHODS[method](IMAGE)
    assert boxes.dtype == np.float32
    assert boxes.shape == (1000, 4)
    assert inside(boxes, IMAGE)
    assert np.array_equal(boxes, baselines.METHODS[method](IMAGE))


def test_windows_go_from_the_whole_image_down():
    boxes = baselines.sliding_windows(IMAGE, 300)
    assert boxes[0].tolist() == [0, 0, 120, 200]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    assert np.all(np.diff(areas[1:]) < 1e-2 * areas[1:-1])  # windows of a size are equal, then smaller ones follow


def test_neighbouring_windows_overlap_by_a_third_of_their_side():
    grid = baselines._grid(100, 135, 100, 100)  # one spacing of .35 fits
    assert grid.tolist() == [[0, 0, 100, 100], [0, 35, 100, 135]]


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (13, 13)])
def test_tiny_images(shape):
    assert inside(baselines.sliding_windows(np.zeros((*shape, 3), np.uint8)), np.zeros(shape))


def selective_search_or_skip():
    try:
        baselines._contrib()
    except UserError:
        pytest.skip("needs opencv-contrib-python-headless (the extra baselines)")


def test_selective_search_finds_the_rectangle_and_repeats():
    selective_search_or_skip()
    boxes = baselines.selective_search(IMAGE)
    assert inside(boxes, IMAGE)
    assert np.abs(boxes - (30, 40, 80, 120)).max(axis=1).min() <= 3
    assert np.array_equal(boxes, baselines.selective_search(IMAGE))


def test_selective_search_of_a_large_image_is_in_its_pixels():
    selective_search_or_skip()
    large = IMAGE.repeat(5, 0).repeat(5, 1)
    boxes = baselines.selective_search(large)
    assert inside(boxes, large)
    assert np.abs(boxes - np.array((30, 40, 80, 120)) * 5).max(axis=1).min() <= 15


def test_opencv_without_contrib_is_one_clear_error(monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    with pytest.raises(UserError, match="pip install --force-reinstall"):
        baselines.selective_search(IMAGE)


@pytest.mark.slow
def test_command_writes_a_file_that_evaluate_reads(tmp_path, capsys):
    from PIL import Image

    for number in (1, 2):
        Image.fromarray(IMAGE).save(tmp_path / f"{number}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 120, "width": 200} for n in (1, 2)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [40, 30, 80, 50], "area": 4000, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "rectangle"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    data, output = f"coco:{tmp_path / 'gt.json'}:{tmp_path}", str(tmp_path / "windows.json")
    assert (
        main(["baseline", "sliding-windows", data, "--output", output, "--max-proposals", "200", "--workers", "1"]) == 0
    )
    assert (
        main(["evaluate", "--ground-truth", str(tmp_path / "gt.json"), "--proposals", output, "--protocol", "fast"])
        == 0
    )
    assert "proposals: 400" in capsys.readouterr().out
    made_by = json.loads((tmp_path / "windows.environment.json").read_text())["made_by"]
    assert (made_by["method"], made_by["max_proposals"]) == ("sliding-windows", 200)
    assert main(["baseline", "sliding-windows", data, "--output", "windows.txt"]) == 2
