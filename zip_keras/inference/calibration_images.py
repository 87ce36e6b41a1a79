"""Digests of the images on which a model was calibrated. Without TensorFlow."""

import hashlib
from collections.abc import Sequence

from zip_keras.data.encoded import describe, read_encoded
from zip_keras.errors import UserError
from zip_keras.inference.inputs import EncodedImage


def image_digest(image: EncodedImage) -> str:
    """Digest of an image's encoded bytes, independent of its name: 16 hexadecimal digits."""
    encoded = read_encoded(image.file, image.offset, image.length)
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def refuse_calibration_images(calibration: dict | None, images: Sequence[EncodedImage]) -> None:
    """Raise `UserError` if the biases were chosen on one of these images: a measurement on it would be optimistic."""
    digests = set((calibration or {}).get("digests", ()))
    if not digests:
        return
    data = (calibration or {})["data"]
    for image in images:
        try:
            known = image_digest(image) in digests
        except UserError:  # reported later, when the image is read
            continue
        if known:
            raise UserError(
                f"{describe(image.file, image.offset, image.length)}: the model's level biases were chosen on this "
                f"image (calibrated on {data}), so a measure on it would be too good; take "
                f"images of another split, or add --allow-calibration-images when nothing is to be measured"
            )
