"""`zip-keras detect`: writes the objects of images with their classes."""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._images import ImageReader
from zip_keras.cli._output import print_counts
from zip_keras.cli._paths import check_output_file, check_output_folder
from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.inference.model_files import find_model
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import check_ids, format_of, write_predictions
from zip_keras.utils.optional import optional_import
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Writes the detections of images, boxes in their own pixels with scores and classes. PATH is an image, a folder (with its
subfolders), a .txt list of images, or a data set spec such as data/voc07:val or records:DIR. The suffix of --output
chooses the kind of file, .json (COCO results) for example; a box's category_id is 1 + the number of its class in the
model's class names, which the command prints. An image's id is the integer of a numeric file stem, else the stem. The
file appears complete at the end, or not at all."""
EXAMPLES = """\
  zip-keras detect photo.jpg --model runs/bccd_two_stage --output detections.json --pictures pictures/
  zip-keras detect data/bccd:test --model runs/bccd_two_stage --output detections.json --max-detections 100
  zip-keras detect photos/ --model exported/cells --output detections.npz --score-threshold 0.5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive, share = _options.in_range(int, low=1), _options.in_range(float, low=0, high=1)
    _options.add_paths_argument(parser)
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="run folder, .keras file or exported folder of a detector"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help=_options.PROPOSAL_FILE)
    _options.add_bad_image_argument(parser)
    group = parser.add_argument_group("detection (default: as trained)")
    group.add_argument("--max-detections", type=positive, metavar="N", help="boxes an image at most")
    group.add_argument("--score-threshold", type=share, metavar="S", help="leave out boxes with a lower score")
    group.add_argument("--scales", type=positive, nargs="+", metavar="PIXELS", help="short side or sides of the image")
    group.add_argument("--long-side", type=positive, metavar="PIXELS", help="cap of the longer side at every scale")
    group.add_argument("--flip", action="store_true", default=None, help="flip test-time augmentation")
    group = parser.add_argument_group("pictures")
    group.add_argument("--pictures", metavar="DIR", help="also draw labelled boxes into DIR/IMAGE_ID.jpg")
    group.add_argument(
        "--pictures-score", type=share, default=0.3, metavar="S", help="least score of a drawn box (default: 0.3)"
    )


def run(arguments: argparse.Namespace) -> None:
    format_of(arguments.output)
    check_output_file("--output", arguments.output)
    check_output_folder("--pictures", arguments.pictures)
    if arguments.pictures:
        optional_import("PIL.Image", "--pictures", "train")
    find_model(arguments.model)
    images, left_out = find_images(arguments.paths, arguments.on_bad_image)
    check_ids(arguments.output, (image.image_id for image in images))
    start_tensorflow(arguments.device)
    from zip_keras.inference.detectors import compile_detector, load_keras_detector, with_detection_options

    detector = with_detection_options(
        load_keras_detector(arguments.model),
        arguments.max_detections,
        arguments.score_threshold,
        arguments.scales,
        arguments.long_side,
        arguments.flip,
    )
    work = _Work(compile_detector(detector), detector.class_names, arguments)
    started = time.perf_counter()
    boxes = write_predictions(arguments.output, work.over(images))
    done = work.reader.done
    seconds = (time.perf_counter() - started) / max(done, 1)
    print(f"{arguments.output}: {boxes} boxes of {done} images, {seconds:.3f} s an image")
    print("  category_id: " + ", ".join(f"{number} {name}" for number, name in enumerate(detector.class_names, 1)))
    print_counts(left_out, "left out")
    if work.reader.bad:
        print(f"  skipped, cannot be read: {len(work.reader.bad)}")
    if arguments.pictures:
        print(f"  pictures: {arguments.pictures}")


class _Work:
    """Detects image by image.

    Attributes:
        reader: counts the images.
    """

    def __init__(self, detect, class_names: Sequence[str], arguments: argparse.Namespace):
        self.detect, self.class_names = detect, class_names
        self.reader = ImageReader(arguments.on_bad_image == "skip")
        self.folder = Path(arguments.pictures) if arguments.pictures else None
        self.least = arguments.pictures_score

    def over(self, images: Sequence[ImageFile]) -> Iterator[ImagePredictions]:
        """The detections of each image that can be read.

        Raises:
            UserError: an image cannot be read and is not to be skipped, or none can.
        """
        from zip_keras.inference.detectors import add_detections

        for image, pixels in self.reader.over(images):
            found = self.detect(pixels)
            if self.folder is not None:
                self._draw(self.folder, image, pixels, found)
            one = Predictions()
            add_detections(one, image.image_id, found)
            yield one[image.image_id]

    def _draw(self, folder: Path, image: ImageFile, pixels: np.ndarray, found: dict[str, np.ndarray]) -> None:
        from zip_keras.plots.detections import draw_detections

        file = folder / f"{str(image.image_id).replace('/', '_')}.jpg"
        shown = found["scores"] >= self.least
        boxes, scores, classes = (found[name][shown] for name in ("boxes", "scores", "classes"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draw_detections(pixels, boxes, scores, classes, self.class_names).save(file, quality=90)
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
