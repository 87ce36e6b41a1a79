"""Defects of annotated images: their kinds, the policies, and the log that counts them.

Nothing is dropped or changed silently. Under the default policy the first defect raises an error; missing images are
reported together. Under `skip` and `clip` every defect is logged with its file, and the counts are kept in the
`Dataset` and in the report.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from zip_keras.errors import UserError

BoxPolicy = Literal["error", "skip", "clip"]
ImagePolicy = Literal["error", "skip", "repair"]

BOX_POLICIES: tuple[BoxPolicy, ...] = ("error", "skip", "clip")
IMAGE_POLICIES: tuple[ImagePolicy, ...] = ("error", "skip", "repair")

# Defects of one object. `clip` repairs "outside_image" only; an object with another defect is skipped.
BOX_DEFECTS = {
    "unreadable_box": "a coordinate is missing or not a number",
    "negative_size": "a box whose end lies before its start",
    "zero_size": "a box without width or height",
    "outside_image": "a box that reaches beyond the image",
    "unknown_image": "an object of an image that is not listed (COCO)",
    "unknown_class": "a class that is not among the given ones",
    "duplicate_box": "the same class and box twice in an image",
}

# Defects of an image. `repair` repairs those of `REPAIRABLE`; the others are skipped under it.
IMAGE_DEFECTS = {
    "broken_annotation": "an annotation file that cannot be read",
    "missing_image": "an annotation without its image",
    "broken_image": "an image that cannot be decoded, or is larger than the limit",
    "size_mismatch": "an image whose size is not the annotation's",
    "exif_rotated": "an image that viewers turn or mirror (EXIF orientation) and decoders do not",
    "cmyk": "an image in CMYK colours",
    "sixteen_bit": "an image with 16 bits a channel",
    "animated": "an image file with several frames",
}
REPAIRABLE = frozenset({"exif_rotated", "cmyk", "sixteen_bit", "animated"})

# Harmless, listed in the report only: decoders convert these images to RGB.
REMARKS = {
    "grayscale": "an image with one channel",
    "reencoded": "an image that is neither JPEG nor PNG, stored as PNG in records",
}

NAMED = 10  # number of missing images that an error message lists

ALL_KINDS = {**BOX_DEFECTS, **IMAGE_DEFECTS, **REMARKS}


@dataclass(frozen=True)
class Defect:
    """One defect that was found and did not raise an error.

    Attributes:
        kind: a key of `ALL_KINDS`.
        file: the annotation or image file.
        detail: the object and the numbers.
        action: "skipped", "clipped", "repaired" or "kept".
    """

    kind: str
    file: str
    detail: str
    action: str


@dataclass
class DefectLog:
    """Applies the policy to each defect and records it.

    Attributes:
        on_box: what to do with a defect of an object: `error`, `skip` it, or `clip` it to the image.
        on_image: what to do with a defect of an image: `error`, `skip` the image, or `repair` it if possible.
        defects: all defects that did not raise an error, in order.
    """

    on_box: BoxPolicy = "error"
    on_image: ImagePolicy = "error"
    defects: list[Defect] = field(default_factory=list)
    _missing: list[str] = field(default_factory=list, repr=False)
    _judged: set[tuple[str, str]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        if self.on_box not in BOX_POLICIES:
            raise UserError(f"on_box is {self.on_box!r}; choose one of {', '.join(BOX_POLICIES)}")
        if self.on_image not in IMAGE_POLICIES:
            raise UserError(f"on_image is {self.on_image!r}; choose one of {', '.join(IMAGE_POLICIES)}")

    def box(self, kind: str, file: str, detail: str) -> str:
        """Judge a defect of an object; return "skipped" or "clipped", or raise `UserError` under `error`."""
        if self.on_box == "error":
            way_out = "skip, or --on-bad-box=clip" if kind == "outside_image" else "skip"
            raise UserError(f"{file}: {detail}; fix the file or run prepare_data with --on-bad-box={way_out}")
        action = "clipped" if self.on_box == "clip" and kind == "outside_image" else "skipped"
        self.defects.append(Defect(kind, file, detail, action))
        return action

    def image(self, kind: str, file: str, detail: str) -> str:
        """Judge a defect of an image; return "skipped" or "repaired", or raise `UserError` under `error`."""
        if self.on_image == "error":
            way_out = "skip, or --on-bad-image=repair" if kind in REPAIRABLE else "skip"
            raise UserError(f"{file}: {detail}; fix the file or run prepare_data with --on-bad-image={way_out}")
        action = "repaired" if self.on_image == "repair" and kind in REPAIRABLE else "skipped"
        if (kind, file) not in self._judged:  # the header and the pixels of a file may be checked separately
            self._judged.add((kind, file))
            self.defects.append(Defect(kind, file, detail, action))
        return action

    def missing_image(self, source: str, image: str) -> None:
        """Judge a missing image that `source` lists; under `error`, `check_missing` raises for all of them later."""
        if self.on_image == "error":
            self._missing.append(image)
        else:
            self.image("missing_image", source, f"its image {image} is not there")

    def check_missing(self, spec: str) -> None:
        """Raise `UserError` if images are missing; the message states their number and the first ten."""
        if not self._missing:
            return
        missing, self._missing = self._missing, []
        count = "1 image is" if len(missing) == 1 else f"{len(missing)} images are"
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise UserError(
            f"{spec}: {count} not there: {', '.join(missing[:NAMED])}{more}; put them back, name their folder in the "
            "spec, or leave them out: --on-bad-image skip, in training data.on_defect=skip"
        )

    def take_over(self, defects: Iterable[Defect]) -> None:
        """Add the defects of another log; image defects that this log already has are skipped."""
        for defect in defects:
            if defect.kind in IMAGE_DEFECTS:
                if (defect.kind, defect.file) in self._judged:
                    continue
                self._judged.add((defect.kind, defect.file))
            self.defects.append(defect)

    def remark(self, kind: str, file: str, detail: str) -> None:
        """Record a remark, which no policy applies to."""
        self.defects.append(Defect(kind, file, detail, "kept"))

    def counts(self) -> dict[str, int]:
        """Number of defects and remarks of each kind, in the order of `ALL_KINDS`."""
        found = Counter(defect.kind for defect in self.defects)
        return {kind: found[kind] for kind in ALL_KINDS if found[kind]}
