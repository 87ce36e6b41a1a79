"""Resumable prediction of many images into one file. Finished images survive an interrupt."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.cli._images import ImageReader
from zip_keras.cli._output import print_counts
from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile
from zip_keras.predictions.container import ImagePredictions
from zip_keras.predictions.formats import write_predictions
from zip_keras.predictions.unfinished import UnfinishedPredictions, image_key
from zip_keras.utils.environment import note_environment
from zip_keras.utils.progress import note

Predict = Callable[[ImageFile, np.ndarray], ImagePredictions]


class ResumablePrediction:
    """Predicts image by image, stores the boxes of each image immediately, and writes the output at the end.

    Args:
        arguments: arguments of the command; uses `output`, `pictures` and `on_bad_image`.
        made_by: json values of everything that determines the boxes and the picture of an image.
    """

    def __init__(self, arguments: argparse.Namespace, made_by: Mapping[str, Any]):
        self.output: str = arguments.output
        self.pictures = None if arguments.pictures is None else Path(arguments.pictures)
        self._made_by = made_by
        self._unfinished = UnfinishedPredictions(self.output, {**made_by, "pictures": arguments.pictures})
        self._reader = ImageReader(arguments.on_bad_image == "skip")

    def run(self, images: Sequence[ImageFile], prepare: Callable[[], Predict], left_out: Mapping[str, int]) -> None:
        """Predict on the remaining images, write the output and print a summary.

        Finished images are kept if the command fails or is interrupted.

        Args:
            images: all images of the output.
            prepare: loads the model and returns a function from an image and its pixels to its boxes. It is not called
                if all images are done.
            left_out: counts of skipped inputs for the summary.

        Raises:
            UserError: an image cannot be read and `--on-bad-image` is not `skip`, or no image can be read.
            KeyboardInterrupt: the user interrupted the command.
        """
        remaining = [image for image in images if not self._is_done(image)]
        if len(remaining) < len(images):
            note(f"{self._unfinished.path}: {len(images) - len(remaining)} of {len(images)} images are already done")
        seconds = self._predict(remaining, prepare, len(images)) if remaining else 0.0
        boxes = write_predictions(self.output, self._unfinished.over(_key(image) for image in images))
        self._unfinished.remove()
        note_environment(self.output, self._made_by)
        done = self._reader.done
        speed = f", {seconds / done:.3f} s per image" if done else ""
        print(f"{self.output}: {boxes} boxes of {len(images) - len(self._reader.bad)} images{speed}")
        print_counts(left_out, "left out")
        if self._reader.bad:
            print(f"  skipped, cannot be read: {len(self._reader.bad)}")
        if self.pictures:
            print(f"  pictures: {self.pictures}")

    def save_picture(self, image: ImageFile, picture: Any) -> None:
        """Write a Pillow picture of an image into the folder of pictures.

        Raises:
            UserError: the picture cannot be written.
        """
        file = self._picture(image)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, quality=90)
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None

    def _predict(self, remaining: Sequence[ImageFile], prepare: Callable[[], Predict], total: int) -> float:
        """Predict on the remaining images and return the time in seconds."""
        predict = prepare()
        started = time.perf_counter()
        try:
            for image, pixels in self._reader.over(remaining, total - len(remaining)):
                self._unfinished.add(_key(image), predict(image, pixels))
        except (UserError, KeyboardInterrupt):
            if self._unfinished:
                note(f"{len(self._unfinished)} images are kept in {self._unfinished.path}; the same command continues")
            raise
        return time.perf_counter() - started

    def _picture(self, image: ImageFile) -> Path:
        assert self.pictures is not None
        return self.pictures / f"{str(image.image_id).replace('/', '_')}.jpg"

    def _is_done(self, image: ImageFile) -> bool:
        return _key(image) in self._unfinished and not (self.pictures and not self._picture(image).is_file())


def _key(image: ImageFile) -> str:
    return image_key(image.image_id, image.file, image.offset)
