"""Convert paths, Pillow images and arrays to uint8 RGB."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from zip_keras.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike = Union[str, Path, "Image", np.ndarray]

# Modes that Pillow converts to 8-bit RGB without loss of range. I, I;16 and F have a larger range and would be clipped.
_PIL_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


def images_of(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """A list of images, from one image, a list, a tuple, a generator or an array `[B, H, W, 3]`."""
    if isinstance(images, (str, os.PathLike)) or _is_pil(images):
        return [images]  # type: ignore[list-item]
    if hasattr(images, "__array__") and np.asarray(images).ndim != 4:
        return [images]  # type: ignore[list-item]
    if not isinstance(images, Iterable):
        raise UserError(f"images: a {type(images).__name__}; give a path, a Pillow image, an array or a list of them")
    return list(images)


def named_pixels(images: ImageLike | Iterable[ImageLike]) -> Iterator[np.ndarray]:
    """Apply `as_rgb` to each of `images_of(images)`; errors name the index in the list."""
    given = images_of(images)
    for place, image in enumerate(given):
        yield as_rgb(image, "image" if len(given) == 1 else f"images[{place}]")


def as_rgb(image: ImageLike, name: str = "image") -> np.ndarray:
    """Convert an image to uint8 `[H, W, 3]` RGB.

    Args:
        image: the path of a JPEG, PNG, GIF, BMP or WebP file; a Pillow image with 8 bits per channel (`L`, `P`, `RGB`,
            `RGBA`, `CMYK`, ...); or a uint8 array `[H, W, 3]`. Grayscale is repeated, transparency is dropped, and EXIF
            orientation is not applied: all three forms give the stored pixels.
        name: name of the image in messages if it has no path.

    Raises:
        UserError: the file cannot be read, or the array or Pillow image has another type or shape.
    """
    if isinstance(image, (str, os.PathLike)):
        return _of_file(Path(image))
    if _is_pil(image):
        return _of_pil(image, name)
    if not hasattr(image, "__array__"):
        raise UserError(f"{name}: a {type(image).__name__}; give a path, a Pillow image or a uint8 array [H, W, 3]")
    array = np.asarray(image)
    check_channels(array.shape, name)
    if array.ndim != 3:
        raise UserError(f"{name}: an array of shape {list(array.shape)}; it must be [H, W, 3], one image")
    check_range(array, name)
    if array.dtype != np.uint8:
        raise UserError(
            f"{name}: an array of {array.dtype}; it must be uint8: image.round().clip(0, 255).astype('uint8')"
        )
    if not array.size:
        raise UserError(f"{name}: an array of shape {list(array.shape)}; height and width must be at least 1 pixel")
    return array


def check_channels(shape: Sequence[int | None], name: str = "image") -> None:
    """Raise `UserError` if a shape does not end in `H, W, 3`. None is an unknown size."""
    if len(shape) < 3:
        fix = (
            "repeat the channel: np.stack([image] * 3, axis=-1)" if len(shape) == 2 else "add the axes that are missing"
        )
        raise UserError(f"{name}: shape {list(shape)}; it must end in H, W, 3 (RGB); {fix}")
    if shape[-1] in (3, None):
        return
    fixes = {1: "repeat the channel: np.repeat(image, 3, axis=-1)", 4: "drop the fourth channel: image[..., :3]"}
    other = "put the channels last: np.moveaxis(image, -3, -1)" if shape[-3] == 3 else "choose three channels"
    raise UserError(
        f"{name}: shape {list(shape)} has {shape[-1]} channels; it must end in H, W, 3 (RGB); "
        f"{fixes.get(shape[-1], other) if shape[-3] != 3 else other}"
    )


def check_range(array: np.ndarray, name: str = "image") -> None:
    """Raise `UserError` for floats in 0..1: images are 0..255. A black image is accepted."""
    if np.issubdtype(array.dtype, np.floating) and array.size and 0 < array.max() <= 1 and array.min() >= 0:
        raise UserError(
            f"{name}: {array.dtype} values from {array.min():.3g} to {array.max():.3g}; images are 0..255: "
            f"(image * 255).round().astype('uint8')"
        )


def _of_file(path: Path) -> np.ndarray:
    from zip_keras.data.encoded import read_encoded
    from zip_keras.inference.runner import decode_image

    if path.is_dir():
        raise UserError(f"{path}: a folder; give its images: sorted(pathlib.Path({str(path)!r}).glob('*.jpg'))")
    return decode_image(read_encoded(str(path), 0, -1), str(path))


def _of_pil(image: Any, name: str) -> np.ndarray:
    name = getattr(image, "filename", "") or name
    if image.mode not in _PIL_MODES:
        raise UserError(
            f"{name}: a Pillow image of mode {image.mode}, which holds more than 8 bits; scale its values to 0..255, "
            f"for 16 bits: Image.fromarray((np.asarray(image) / 257).round().astype('uint8'))"
        )
    if 0 in image.size:
        raise UserError(f"{name}: {image.width} x {image.height} pixels; height and width must be at least 1 pixel")
    return np.asarray(image.convert("RGB"))


def _is_pil(image: object) -> bool:
    """Whether `image` is a Pillow image. Does not import Pillow, which may not be installed."""
    return any(f"{kind.__module__}.{kind.__name__}" == "PIL.Image.Image" for kind in type(image).__mro__)
