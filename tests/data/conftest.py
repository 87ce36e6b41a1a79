from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Box = tuple[str, int, int, int, int]


def make_voc_xml(name: str, boxes: list[Box], size: tuple[int, int] | None = (40, 60)) -> str:
    """VOC XML; boxes are (class, xmin, ymin, xmax, ymax), size is (height, width)."""
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>" if size else ""
    objects = "".join(
        f"<object><name>{c}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for c, x1, y1, x2, y2 in boxes
    )
    return f"<annotation><filename>{name}</filename>{stated}{objects}</annotation>"


class Devkit:
    """A VOC devkit on disk that tests fill."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / name).mkdir(parents=True)

    def add(self, stem: str, boxes: list[Box], size: tuple[int, int] = (40, 60), xml: str | None = None) -> Path:
        """Adds an image of noise with its annotation to the split `train`; returns the image's path."""
        image = self.folder / "JPEGImages" / f"{stem}.jpg"
        noise = np.random.default_rng(len(stem)).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(noise).save(image)
        (self.folder / "Annotations" / f"{stem}.xml").write_text(xml or make_voc_xml(image.name, boxes, size))
        with open(self.folder / "ImageSets" / "Main" / "train.txt", "a") as file:
            file.write(f"{stem}\n")
        return image

    @property
    def train(self) -> str:
        return f"{self.folder}:train"


@pytest.fixture
def devkit(tmp_path: Path) -> Devkit:
    return Devkit(tmp_path / "devkit")


@pytest.fixture(scope="session")
def voc_xml() -> Callable[..., str]:
    """`make_voc_xml`."""
    return make_voc_xml
