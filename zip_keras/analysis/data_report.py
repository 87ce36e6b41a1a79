"""Report on the contents and defects of a data set, for the terminal and as json."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.analysis.anchor_fit.fit import AnchorFit
from zip_keras.data.checks.defects import ALL_KINDS, REMARKS, Defect
from zip_keras.data.records import Dataset

SMALL, LARGE = 32.0**2, 96.0**2  # COCO's bounds of object areas, square pixels
SHOWN = 10  # maximum number of listed defects per kind in the terminal; the json has all


@dataclass(frozen=True)
class Report:
    """Report on a data set, see `make_report`.

    Attributes:
        spec: data set spec.
        images, empty_images: number of all images and of images without objects.
        objects, difficult, crowd: number of all objects, difficult objects and crowds.
        sizes: number of objects with an area below 32^2 (S), up to 96^2 (M) and above (L), in square pixels.
        per_class: number of objects of each class, in index order.
        image_sides: smallest, median and largest height and width in pixels.
        defects: all defects that were skipped, repaired or remarked.
        anchor_fit: see `anchor_fit.fit_anchors`.
    """

    spec: str
    images: int
    empty_images: int
    objects: int
    difficult: int
    crowd: int
    sizes: dict[str, int]
    per_class: dict[str, int]
    image_sides: dict[str, tuple[int, int, int]]
    defects: Sequence[Defect]
    anchor_fit: AnchorFit

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of defects by kind and action, in the order of `ALL_KINDS`."""
        found: dict[tuple[str, str], int] = {}
        for defect in self.defects:
            found[defect.kind, defect.action] = found.get((defect.kind, defect.action), 0) + 1
        order = list(ALL_KINDS)
        return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))

    def to_json(self) -> dict[str, object]:
        """All numbers and defects as json values."""
        return {
            "spec": self.spec,
            "images": self.images,
            "images_without_objects": self.empty_images,
            "objects": self.objects,
            "difficult": self.difficult,
            "crowd": self.crowd,
            "sizes": self.sizes,
            "per_class": self.per_class,
            "image_sides_min_median_max": {key: list(sides) for key, sides in self.image_sides.items()},
            "defect_counts": {f"{kind} {action}": number for (kind, action), number in self.counts().items()},
            "defects": [vars(defect) for defect in self.defects],
            "anchor_fit": self.anchor_fit.to_json(),
        }

    def text(self) -> str:
        """The report for the terminal."""
        height, width = self.image_sides["height"], self.image_sides["width"]
        lines = [
            f"{self.spec}: {self.images} images ({self.empty_images} without objects), {self.objects} objects "
            f"({self.difficult} difficult, {self.crowd} crowd)",
            f"  image height {height[0]} to {height[2]} (median {height[1]}), width {width[0]} to {width[2]} "
            f"(median {width[1]})",
            "  objects by area: "
            + ", ".join(f"{name} {number}" for name, number in self.sizes.items())
            + " (S below 32 x 32, L above 96 x 96 pixels)",
            "  objects by class: " + ", ".join(f"{name} {number}" for name, number in self.per_class.items()),
        ]
        lines += self._defect_lines()
        return "\n".join([*lines, self.anchor_fit.text()])

    def _defect_lines(self) -> list[str]:
        if not self.defects:
            return ["  defects: none"]
        lines = ["  defects:"]
        for (kind, action), number in self.counts().items():
            meaning = {**ALL_KINDS, **REMARKS}[kind]
            lines.append(f"    {kind}: {number} {action} ({meaning})")
            these = [d for d in self.defects if (d.kind, d.action) == (kind, action)]
            lines += [f"      {defect.file}: {defect.detail}" for defect in these[:SHOWN]]
            if number > SHOWN:
                lines.append(f"      ... and {number - SHOWN} more, all in the json report")
        return lines


def make_report(dataset: Dataset, defects: Sequence[Defect], anchor_fit: AnchorFit) -> Report:
    """Count the contents of a data set.

    Args:
        dataset: the data set as read or written, without skipped parts.
        defects: defects logged while it was read.
        anchor_fit: anchor fit of the same data set.
    """
    records = dataset.records

    def flat(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype), *(getattr(record, name) for record in records)])

    area, classes = flat("area", np.float32), flat("classes", np.int32)
    sides = {key: np.array([getattr(record, key) for record in records]) for key in ("height", "width")}
    number = np.bincount(classes, minlength=len(dataset.class_names))
    return Report(
        spec=dataset.spec,
        images=len(records),
        empty_images=sum(len(record.boxes) == 0 for record in records),
        objects=len(classes),
        difficult=int(flat("difficult", bool).sum()),
        crowd=int(flat("crowd", bool).sum()),
        sizes={
            "S": int((area < SMALL).sum()),
            "M": int(((area >= SMALL) & (area <= LARGE)).sum()),
            "L": int((area > LARGE).sum()),
        },
        per_class={name: int(count) for name, count in zip(dataset.class_names, number, strict=True)},
        image_sides={key: (int(v.min()), int(np.median(v)), int(v.max())) for key, v in sides.items()},
        defects=defects,
        anchor_fit=anchor_fit,
    )
