"""Checked image files: header, defects, decoding to RGB, repair. The number of pixels and bytes is limited.

Functions import Pillow (the `train` extra) when they are called.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.data.encoded import MAX_BYTES
from zip_keras.data.image_headers import FILLER, MAX_PIXELS, check_pixels, jpeg_layout, refuse_large
from zip_keras.errors import UserError
from zip_keras.utils import reading
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageInfo:
    """Fields of an image header.

    Attributes:
        format: Pillow's name, one of `FORMATS`, or "MPO" for a JPEG followed by more pictures.
        height, width: size in pixels as stored, without EXIF rotation.
        mode: Pillow's name for the pixel type ("RGB", "L", "CMYK", ...).
        orientation: EXIF orientation, 1 (as stored) to 8.
        frames_differ: whether the file is an animation or has several pages.
        sixteen_bit: whether a channel has more than 8 bits.
    """

    format: str
    height: int
    width: int
    mode: str
    orientation: int
    frames_differ: bool
    sixteen_bit: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """`(height, width)` with EXIF rotation applied, as viewers show the image."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    def defects(self) -> list[tuple[str, str]]:
        """Kinds of `defects.IMAGE_DEFECTS` and `REMARKS` that the header shows, each with a description."""
        found = []
        if self.orientation != 1:
            found.append(("exif_rotated", f"viewers turn or mirror it (EXIF orientation {self.orientation})"))
        if self.frames_differ:
            found.append(("animated", f"the {self.format} file has several frames"))
        if self.sixteen_bit:
            found.append(("sixteen_bit", "has 16 bits a channel"))
        if self.mode == "CMYK":
            found.append(("cmyk", "is in CMYK colours"))
        if self.mode in ("1", "L", "LA") or self.mode.startswith("I"):
            found.append(("grayscale", "has one channel"))
        return found


def read_bytes(path: str) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: the file cannot be read or is larger than `MAX_BYTES`.
    """
    return reading.read_bytes(path, MAX_BYTES)


def inspect(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Read the header of an image without decoding pixels.

    Raises:
        UserError: not an image of a known format, or more than `max_pixels`; the message begins with `name`.
    """
    with _opened(data, name, max_pixels) as image:
        return _info(image, data)


def inspect_file(path: str, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """`inspect` for a file; only the first 64 KiB are read if they hold the whole header."""
    head = reading.read_bytes(path, MAX_BYTES, only=64 * 1024)
    try:
        return inspect(head, path, max_pixels)
    except UserError:  # a long header, such as an embedded thumbnail or colour profile
        return inspect(read_bytes(path), path, max_pixels)


def verify(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Read the header and check that the whole image can be decoded.

    Raises:
        UserError: as `inspect`, or the pixel data are damaged or truncated.
    """
    with _opened(data, name, max_pixels) as image:
        info = _info(image, data)
        if info.format in ("JPEG", "MPO"):
            _load_jpeg(image, data, name)
        else:
            image.load()
    return info


def decode_with_pillow(data: bytes, name: str, *, upright: bool = False, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the first frame to uint8 `[height, width, 3]`.

    Args:
        data: the encoded image.
        name: for messages.
        upright: whether to apply the EXIF orientation, as viewers do.
        max_pixels: larger images are rejected before decoding.

    Raises:
        UserError: as `verify`.
    """
    from PIL import ImageOps

    with _opened(data, name, max_pixels) as image:
        image.load()
        turned = ImageOps.exif_transpose(image) if upright else image
        pixels = np.asarray(turned)
        if pixels.dtype in (np.uint16, np.int32) and pixels.ndim == 2:  # 16-bit gray: Pillow's conversion clips at 255
            gray = (pixels.astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
            return np.repeat(gray[:, :, None], 3, axis=2)
        return np.asarray(turned.convert("RGB"))


def repair(data: bytes, name: str, *, upright: bool = True, max_pixels: int = MAX_PIXELS) -> bytes:
    """Re-encode the first frame as 8-bit RGB: a JPEG as JPEG of quality 95, other formats as PNG.

    Args:
        data: the encoded image.
        name: for messages.
        upright: whether to rotate the pixels by the EXIF orientation; the orientation tag is dropped in any case.
        max_pixels: as in `decode_with_pillow`.
    """
    from PIL import Image

    pixels = Image.fromarray(decode_with_pillow(data, name, upright=upright, max_pixels=max_pixels))
    buffer = io.BytesIO()
    if inspect(data, name, max_pixels).format in ("JPEG", "MPO"):
        pixels.save(buffer, "JPEG", quality=95)
    else:
        pixels.save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator["Image"]:
    """The opened image, its size checked before decoding; every exception inside becomes a `UserError`."""
    Image = optional_import("PIL.Image", name, "train")
    check_pixels(data, name, max_pixels)  # some of Pillow's plugins allocate the image when they open it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; `max_pixels` decides
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                refuse_large(image.height, image.width, name, max_pixels)
                yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's plugins raise anything on hostile bytes: SyntaxError, struct.error, ...
        raise UserError(f"{name}: not a readable image ({_reason(error)})") from None


def _load_jpeg(image: "Image", data: bytes, name: str) -> None:
    """Decode a JPEG; raise `UserError` if its data are truncated, which decoders silently fill with gray.

    The image is decoded a second time with extra bytes before the end marker. Decoders skip them after complete data;
    in place of missing data they change the pixels.
    """
    from PIL import Image as Images

    layout = jpeg_layout(data)
    size = (max(1, image.width // 8), max(1, image.height // 8))
    filled = data[: layout.end if layout.end >= 0 else len(data)] + FILLER + b"\xff\xd9"
    with Images.open(io.BytesIO(filled), formats=("JPEG",)) as other:
        if not layout.progressive:  # the last bytes of a progressive JPEG do not affect a reduced image
            image.draft(None, size)
            other.draft(None, size)
        if not np.array_equal(np.asarray(image), np.asarray(other)):
            raise UserError(f"{name}: the JPEG data end before the image does")


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "unknown format" if "cannot identify image file" in text else text.splitlines()[0][:200]


def _info(image: "Image", data: bytes) -> ImageInfo:
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    return ImageInfo(
        format=image.format or "",
        height=image.height,
        width=image.width,
        mode=image.mode,
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        # Cameras write MPO, a JPEG followed by a second view or preview. Decoders read only the first picture.
        frames_differ=image.format != "MPO" and bool(getattr(image, "is_animated", False)),
        # Pillow opens 16-bit RGB PNGs as 8-bit "RGB"; byte 24 of the file is the real bit depth.
        sixteen_bit=image.mode.startswith("I") or (image.format == "PNG" and data[24:25] == b"\x10"),
    )
