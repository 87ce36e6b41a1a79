"""Verify that an exported file gives the same results as the Keras model."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.data.synthetic import render_scene
from zip_keras.errors import UserError

Call = Callable[[np.ndarray], Mapping[str, Any]]


@dataclass(frozen=True)
class Bound:
    """Tolerance of a format.

    Attributes:
        difference: maximum difference of a box, as a fraction of the image's longer side, and of its score.
        share: fraction of boxes that may differ by more, because NMS or the order of near-equal scores differs.
    """

    difference: float
    share: float


# float32 formats differ by rounding only; the others change weights or arithmetic.
BOUNDS = {
    "keras": Bound(1e-4, 0.01),
    "saved_model": Bound(1e-4, 0.01),
    "onnx": Bound(1e-4, 0.01),
    "onnx_float16": Bound(1e-2, 0.05),
    "openvino": Bound(1e-4, 0.01),
    "openvino_bfloat16": Bound(5e-2, 0.05),
    "openvino_int8": Bound(1e-1, 0.40),
    "litert": Bound(1e-4, 0.01),
}
SIZES = ((97, 131), (233, 151), (61, 301))  # height, width; none is a multiple of 32


@dataclass(frozen=True)
class Comparison:
    """Comparison of one format with the Keras model.

    Attributes:
        format: its name in `BOUNDS`.
        difference: 99th percentile of the box differences.
        share: fraction of boxes that differ by more than the bound.
        boxes: number of compared boxes.
        images: number of compared images.
    """

    format: str
    difference: float
    share: float
    boxes: int
    images: int

    @property
    def within(self) -> bool:
        """Whether the format is within its bound."""
        return self.share <= BOUNDS[self.format].share

    def __str__(self) -> str:
        bound = BOUNDS[self.format]
        return (
            f"{self.format}: 99 % of {self.boxes} boxes of {self.images} images differ by at most "
            f"{self.difference:.1e}, {self.share:.1%} by more than {bound.difference:.0e} ({bound.share:.0%} may)"
        )


def verification_batches(size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Batches of uint8 `[B, H, W, 3]`: scenes of three odd sizes, a pair of scenes, a gradient, and a uniform image.

    Args:
        size: height and width of all images, for a model of fixed size; all batches then contain one image.
    """
    sizes = SIZES if size is None else (size,) * 3
    scenes = [_scene(index, *sides) for index, sides in enumerate(sizes)]
    pair = np.stack([_scene(3, *sizes[0]), _scene(4, *sizes[0])])
    y, x = np.mgrid[: sizes[1][0], : sizes[1][1]]
    slope = np.stack([y % 256, x % 256, (x + y) // 2 % 256], axis=-1).astype(np.uint8)
    blank = np.zeros((*sizes[2], 3), np.uint8)
    single = [*scenes, slope, blank] if size is None else [*scenes, slope, blank, *pair]
    return [image[None] for image in single] + ([pair] if size is None else [])


def compare(name: str, reference: Call, found: Call, batches: list[np.ndarray]) -> Comparison:
    """Run both models on the batches and compare their boxes.

    The difference of a box is its distance in position and score to the nearest box of the other list. It is computed
    in both directions. On a uniform image only scores are compared, because many boxes tie and their order is
    arbitrary.

    Args:
        name: name of the format in `BOUNDS`.
        reference: the Keras model.
        found: the exported model.
        batches: uint8 `[B, H, W, 3]` each.
    """
    differences: list[np.ndarray] = []
    for images in batches:
        wanted, given = _arrays(reference(images)), _arrays(found(images))
        for row, image in enumerate(images):
            own, other = ({key: x[row][side["valid"][row]] for key, x in side.items()} for side in (wanted, given))
            if image.min() == image.max():
                differences.append(_of_scores(own["scores"], other["scores"]))
            else:
                side = float(max(image.shape))
                differences += [_to_nearest(own, other, side), _to_nearest(other, own, side)]
    values = np.sort(np.concatenate(differences)) if differences else np.zeros(0)
    return Comparison(
        format=name,
        difference=float(values[math.ceil(0.99 * len(values)) - 1]) if len(values) else 0.0,
        share=float(np.mean(values > BOUNDS[name].difference)) if len(values) else 0.0,
        boxes=len(values),
        images=sum(len(images) for images in batches),
    )


def check(comparison: Comparison) -> None:
    """Raise `UserError` if a format exceeds its bound."""
    if not comparison.within:
        raise UserError(f"{comparison}; the file does not answer as the Keras model does, and nothing was written")


def check_signatures(signatures: Mapping[str, Any]) -> None:
    """Raise `UserError` if the signatures of a SavedModel disagree.

    The inputs are image files of two sizes, bytes that are no image, records, and limits.
    """
    images = [_scene(index, *size) for index, size in enumerate(SIZES[:2])]
    files = [tf.io.encode_png(image).numpy() for image in images]
    alone = [_arrays(signatures["serving_default"](images=tf.constant(image[None]))) for image in images]
    bytes_ = [*files, b"no image"]
    limits = {"max_boxes": tf.constant([5] * 3), "score_threshold": tf.zeros([3])}
    answers = {
        "encoded": signatures["encoded"](image_bytes=tf.constant(bytes_)),
        "tf_example": signatures["tf_example"](examples=tf.constant([_example(content) for content in bytes_])),
        "encoded_with_options": signatures["encoded_with_options"](image_bytes=tf.constant(bytes_), **limits),
    }
    for row, image in enumerate(images):
        pixels = {"images": tf.constant(image[None]), **{name: values[:1] for name, values in limits.items()}}
        answers["serving_default_with_options"] = signatures["serving_default_with_options"](**pixels)
        for name, answer in answers.items():
            at = 0 if name == "serving_default_with_options" else row
            for key, expected in alone[row].items():
                found = np.asarray(answer[key])[at]
                length = min(len(found), 5 if name.endswith("options") else len(found))
                if not np.allclose(found[:length], expected[0][:length], rtol=1e-4, atol=1e-2):
                    raise UserError(f"signature {name}: {key} are not those of serving_default; nothing was written")
    if np.asarray(answers["encoded"]["decoded"]).tolist() != [True, True, False]:
        raise UserError("signature encoded: it does not tell images from other bytes; nothing was written")


def _example(content: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    return tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature})).SerializeToString()


def _scene(index: int, height: int, width: int) -> np.ndarray:
    """A rendered scene, tiled to the given size."""
    image = render_scene(seed=13, index=index).image
    repeats = (-(-height // image.shape[0]), -(-width // image.shape[1]), 1)
    return np.ascontiguousarray(np.tile(image, repeats)[:height, :width])


def _arrays(answer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(answer[name]) for name in ("boxes", "scores", "valid", "classes") if name in answer}


def _of_scores(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    count = max(len(own), len(other))
    padded = [np.pad(np.sort(scores)[::-1], (0, count - len(scores)), constant_values=-1.0) for scores in (own, other)]
    return np.abs(padded[0] - padded[1])


def _to_nearest(own: dict[str, np.ndarray], other: dict[str, np.ndarray], side: float) -> np.ndarray:
    """Difference of each box in `own` to the nearest box of the same class in `other`."""
    if not len(own["scores"]):
        return np.zeros(0)
    if not len(other["scores"]):
        return np.ones(len(own["scores"]))
    apart = np.abs(own["scores"][:, None] - other["scores"])
    for i in range(4):
        apart = np.maximum(apart, np.abs(own["boxes"][:, None, i] - other["boxes"][:, i]) / side)
    if "classes" in own:
        apart = np.where(own["classes"][:, None] == other["classes"], apart, 1.0)
    return np.nan_to_num(apart.min(axis=1), nan=1.0)
