import numpy as np
import pytest

from zip_keras.analysis.attention.statistics import LevelAttention
from zip_keras.inference.boxes import Boxes, Detections
from zip_keras.page.model import Choice, PageModel

# Best first: the second is nearly the first (IoU .8), the third overlaps nothing, the fourth is inside the first (.25).
BOXES = np.float32([[0, 0, 20, 40], [0, 0, 20, 32], [40, 40, 60, 80], [0, 0, 20, 10]])
SCORES = np.float32([0.9, 0.8, 0.6, 0.2])
LEVELS = np.int32([3, 2, 1, 1])


class FakeModel:
    """Boxes that are known, and how often the network ran."""

    def __init__(self, detector: bool):
        self.runs = self.attended = 0
        self.found = Boxes(BOXES, SCORES, LEVELS)
        names = None
        if detector:
            names = ("cat", "<i>dog</i>")
            self.found = Detections(BOXES, SCORES, LEVELS, np.int32([0, 1, 1, 0]), names)
        start = Choice(3, 0.0, 0.5)
        self.page = PageModel("fake", names, self.look, start, len(BOXES), self.attend)

    def look(self, image):
        self.runs += 1
        return self.found

    def attend(self, image):
        self.attended += 1
        rng = np.random.default_rng(0)
        before, mu = rng.uniform(0, 1, (4, 6, 8)).astype(np.float32), rng.uniform(0.5, 1.5, 8).astype(np.float32)
        return {level: LevelAttention(before, mu, before * mu) for level in (1, 2)}


@pytest.fixture
def proposer():
    return FakeModel(detector=False)


@pytest.fixture
def detector():
    return FakeModel(detector=True)
