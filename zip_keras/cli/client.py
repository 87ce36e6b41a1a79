"""`zip-keras client`: request predictions from a server."""

import argparse
import functools
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._output import print_counts
from zip_keras.cli._paths import check_output_file
from zip_keras.client import Answer, Client
from zip_keras.client.failures import ServerError
from zip_keras.data.encoded import describe, read_encoded
from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.predictions.container import ImagePredictions, Predictions, to_xywh
from zip_keras.predictions.formats import check_ids, format_of, write_predictions
from zip_keras.utils.progress import note, with_progress

DESCRIPTION = """\
Sends images to TensorFlow Serving with an export of a proposer or detector, and writes the boxes in pixels of each
image. For a detector it also prints category_id, name and number of boxes of each class found. PATH is an image, a
folder (with its subfolders), a .txt list of images, or a data set spec. Without PATH, the command prints the versions
of the model on the server. Requests are retried until --timeout if the connection breaks or the server is busy.
Needs neither TensorFlow nor Keras."""
EXAMPLES = """\
  zip-keras client --server localhost:8500 --model lite
  zip-keras client photo.jpg --server localhost:8500 --model lite --output boxes.json
  zip-keras client photos/ --server http://localhost:8501 --model lite --output boxes.csv --concurrency 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive, seconds = _options.in_range(int, low=1), _options.in_range(float, low=0.001)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=_options.PATH_HELP)
    parser.add_argument(
        "--server",
        default="localhost:8500",
        metavar="ADDRESS",
        help="HOST:PORT for gRPC, grpcs://HOST:PORT with TLS, http://HOST:PORT or https:// for REST "
        "(default: localhost:8500)",
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the served model")
    parser.add_argument(
        "--model-version", type=positive, metavar="N", help="model version (default: the server's newest)"
    )
    parser.add_argument("--output", metavar="FILE", help=_options.PROPOSAL_FILE)
    _options.add_bad_image_argument(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds per image, retries included (default: 30)",
    )
    parser.add_argument(
        "--concurrency", type=positive, default=4, metavar="N", help="number of concurrent requests (default: 4)"
    )
    parser.add_argument("--certificate", metavar="FILE", help="PEM file of the certificate authorities trusted for TLS")


def run(arguments: argparse.Namespace) -> None:
    if arguments.paths and not arguments.output:
        raise UserError("--output is missing: name the file for the boxes, for example --output boxes.json")
    client = Client(
        arguments.server,
        arguments.model,
        version=arguments.model_version,
        timeout=arguments.timeout,
        concurrency=arguments.concurrency,
        certificate=arguments.certificate,
    )
    with client:
        if not arguments.paths:
            for one in client.versions():
                print(f"{arguments.model} version {one.version}: {one.state}" + (f": {one.error}" if one.error else ""))
            return
        _write(client, arguments)


def _write(client: Client, arguments: argparse.Namespace) -> None:
    format_of(arguments.output)
    check_output_file("--output", arguments.output)
    images, left_out = find_images(arguments.paths, arguments.on_bad_image)
    check_ids(arguments.output, (image.image_id for image in images))
    work = _Work(client, arguments.on_bad_image == "skip")
    started = time.perf_counter()
    boxes = write_predictions(arguments.output, work.over(images))
    seconds = (time.perf_counter() - started) / max(work.done, 1)
    print(f"{arguments.output}: {boxes} boxes of {work.done} images, {seconds:.3f} s per image")
    if work.classes:
        found = (f"{number} {name} ({count})" for (number, name), count in sorted(work.classes.items()))
        print(f"category_id and boxes: {', '.join(found)}")
    print_counts(left_out, "left out")
    if work.bad:
        print(f"  skipped, cannot be read: {work.bad}")


class _Work:
    """Requests predictions for images concurrently and counts the results."""

    def __init__(self, client: Client, skip_bad: bool):
        self.client, self.skip_bad = client, skip_bad
        self.done = self.bad = 0
        self.classes: Counter[tuple[int, str]] = Counter()  # of a detector: number of boxes by category_id and name

    def over(self, images: Sequence[ImageFile]) -> Iterator[ImagePredictions]:
        """Iterate over the boxes of the images, in order.

        Raises:
            ServerError: the server does not answer or fails.
            UserError: an image cannot be read and `skip_bad` is off, or no image can be read.
        """
        readers = (functools.partial(read_encoded, image.file, image.offset, image.length) for image in images)
        names = (describe(image.file, image.offset, image.length) for image in images)
        answers = self.client.predict_many(readers, names)
        for image, answer in with_progress(zip(images, answers, strict=True), len(images)):
            if isinstance(answer, ServerError) and answer.code != "INVALID_ARGUMENT":
                raise answer
            if isinstance(answer, UserError):
                if not self.skip_bad:
                    raise answer
                note(f"skipped: {answer}")
                self.bad += 1
                continue
            self.done += 1
            if answer.classes is not None and answer.names is not None:
                self.classes.update(zip((answer.classes + 1).tolist(), answer.names.tolist(), strict=True))
            yield _predictions(image.image_id, answer)
        if not self.done:
            raise UserError(f"none of the {len(images)} images can be read")


def _predictions(image_id: int | str, answer: Answer) -> ImagePredictions:
    one = Predictions()
    categories = None if answer.classes is None else answer.classes.astype(np.int64) + 1
    one.add_xywh(image_id, to_xywh(answer.boxes), answer.scores, categories, answer.levels)
    return one[image_id]
