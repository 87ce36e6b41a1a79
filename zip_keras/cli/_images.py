"""The images of a command: read while the network works, counted, skipped where that was asked for."""

from collections.abc import Iterator, Sequence

import numpy as np

from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile
from zip_keras.utils.progress import BUILDING, note, with_progress

_NAMED = 20  # bad images that an error names


class ImageReader:
    """Reads images with a progress bar.

    Attributes:
        done: images that were read.
        bad: what is wrong with each that could not be.
    """

    def __init__(self, skip_bad: bool):
        self.skip_bad = skip_bad
        self.done = 0
        self.bad: list[UserError] = []

    def over(self, images: Sequence[ImageFile], done_before: int = 0) -> Iterator[tuple[ImageFile, np.ndarray]]:
        """Each image that can be read, with its pixels, uint8 `[H, W, 3]` RGB.

        Args:
            images: to be read.
            done_before: images of the same work that were done by an earlier command.

        Raises:
            UserError: after the last image: some cannot be read and are not to be skipped, or none can.
        """
        from zip_keras.inference.runner import load_images

        total = len(images) + done_before
        for image, pixels in with_progress(load_images(images), total, first=BUILDING, done=done_before):
            if isinstance(pixels, UserError):
                note(f"skipped: {pixels}" if self.skip_bad else f"cannot be read: {pixels}")
                self.bad.append(pixels)
                continue
            self.done += 1
            yield image, pixels
        if not self.done and not done_before:
            raise UserError(f"none of the {total} images can be read{_named(self.bad)}")
        if self.bad and not self.skip_bad:
            raise UserError(
                f"{len(self.bad)} of {total} images cannot be read{_named(self.bad)}\n"
                "repair or remove them, or add --on-bad-image skip"
            )


def _named(errors: Sequence[UserError]) -> str:
    lines = [f"\n  {error}" for error in errors[:_NAMED]]
    more = f"\n  and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    return ":" + "".join(lines) + more
