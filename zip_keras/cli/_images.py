"""The images of a command, one after the other: read, counted, skipped where that was asked for."""

import sys
from collections.abc import Iterator, Sequence

import numpy as np

from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile
from zip_keras.utils.progress import with_progress


class ImageReader:
    """Reads images with a progress bar.

    Attributes:
        done, skipped: images so far.
    """

    def __init__(self, skip_bad: bool):
        self.skip_bad = skip_bad
        self.done = self.skipped = 0

    def over(self, images: Sequence[ImageFile]) -> Iterator[tuple[ImageFile, np.ndarray]]:
        """Each image that can be read, with its pixels, uint8 `[H, W, 3]` RGB.

        Raises:
            UserError: an image cannot be read and is not to be skipped, or none can.
        """
        from zip_keras.inference.runner import load_image

        for image in with_progress(images, len(images)):
            try:
                pixels = load_image(image)
            except UserError as error:
                if not self.skip_bad:
                    raise UserError(f"{error}, or add --on-bad-image skip") from None
                print(f"skipped: {error}", file=sys.stderr)
                self.skipped += 1
                continue
            self.done += 1
            yield image, pixels
        if not self.done:
            raise UserError(f"none of the {len(images)} images can be read")
