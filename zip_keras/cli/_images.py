"""Read the images of a command in the background, with counts and the policy for bad images."""

from collections.abc import Iterator, Sequence

import numpy as np

from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile
from zip_keras.utils.progress import BUILDING, note, with_progress

_NAMED = 20  # number of bad images listed in an error


class ImageReader:
    """Reads images with a progress bar.

    Attributes:
        done: number of images that were read.
        bad: the errors of images that could not be read.
    """

    def __init__(self, skip_bad: bool):
        self.skip_bad = skip_bad
        self.done = 0
        self.bad: list[UserError] = []

    def over(self, images: Sequence[ImageFile], done_before: int = 0) -> Iterator[tuple[ImageFile, np.ndarray]]:
        """Iterate over the readable images with their pixels, uint8 `[H, W, 3]` RGB.

        Args:
            images: images to read.
            done_before: number of images that an earlier command completed.

        Raises:
            UserError: raised after the last image, if images could not be read and `skip_bad` is off, or if none could
                be read.
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
