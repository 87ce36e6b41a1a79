import numpy as np
import pytest
from PIL import Image

from zip_keras.analysis.anchor_fit.figure import plot_anchor_fit
from zip_keras.analysis.anchor_fit.fit import AnchorFit
from zip_keras.config import AnchorConfig


@pytest.mark.parametrize("boxes", [0, 1, 30_000])
def test_a_picture_for_any_number_of_boxes(tmp_path, boxes):
    rng = np.random.default_rng(0)
    iou = rng.uniform(0, 1, (boxes, 3)).astype(np.float32)
    sizes = np.exp(rng.uniform(2, 6, (boxes, 2))).astype(np.float32)
    path = tmp_path / "fit.png"
    plot_anchor_fit(AnchorFit(sizes, iou, iou, AnchorConfig(), None), str(path))
    pixels = np.asarray(Image.open(path).convert("RGB"))
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (31, 119, 180), (255, 127, 14), (44, 160, 44)} <= colours  # anchors of the three levels


def test_a_level_without_anchors_is_no_obstacle(tmp_path):
    iou = np.zeros((1, 3), np.float32)
    anchors = AnchorConfig(scales=((), (), (32.0,)))
    plot_anchor_fit(AnchorFit(np.full((1, 2), 32, np.float32), iou, iou, anchors, None), str(tmp_path / "fit.png"))
    assert Image.open(tmp_path / "fit.png").size[0] > 0
