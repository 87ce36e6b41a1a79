"""`zip-keras baseline`: proposals of methods that need no training, as a file for the comparison."""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from zip_keras.data.checks.images import decode_rgb
from zip_keras.data.encoded import describe, read_encoded
from zip_keras.data.records import ImageRecord
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.inference.baselines import METHODS, scores_of
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import check_ids, format_of, write_predictions
from zip_keras.utils.progress import with_progress

DESCRIPTION = """\
Proposals without training: Selective Search in its two settings (needs OpenCV's contrib modules: pip install
'zip-keras[baselines]'), sliding windows, and the network's anchors in random order."""
EXAMPLES = """\
  zip-keras baseline selective-search-fast data/voc07:val --output selective_search.json
  zip-keras baseline sliding-windows data/voc07:val --output windows.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("data", help="DEVKIT:SPLIT, instances.json or another data set spec")
    parser.add_argument("--output", required=True, metavar="FILE", help=".json, .npz, .parquet, .pkl or .mat")
    parser.add_argument("--max-proposals", type=int, default=1000, help="an image (default 1000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    format_of(arguments.output)  # before minutes of work
    if arguments.max_proposals < 1 or arguments.workers < 1:
        raise UserError("--max-proposals and --workers must be at least 1")
    dataset = open_dataset(arguments.data, on_defect="skip", on_bad_image="error")
    records = dataset.records
    check_ids(arguments.output, (record.image_id for record in records))
    propose = partial(propose_record, arguments.method, arguments.max_proposals)
    started = time.perf_counter()
    with ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn")) as workers:
        parts = workers.map(propose, records, chunksize=4)
        try:
            boxes = write_predictions(arguments.output, with_progress(parts, len(records)))
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    seconds = time.perf_counter() - started
    print(
        f"{arguments.output}: {boxes} boxes of {len(records)} images, "
        f"{seconds * arguments.workers / len(records):.3f} s an image and process"
    )
    for kind, count in dataset.skipped.items():
        print(f"  passed over: {kind}: {count}")


def propose_record(method: str, count: int, record: ImageRecord) -> ImagePredictions:
    """The first `count` proposals of a method for one image; runs in a process of its own.

    Raises:
        UserError: the image is missing or broken, or the method's library is.
    """
    encoded = read_encoded(record.file, record.offset, record.length)
    image = decode_rgb(encoded, describe(record.file, record.offset, record.length))
    boxes = METHODS[method](image)[:count]
    result = Predictions()
    result.add(record.image_id, boxes, scores_of(len(boxes)))
    return result[record.image_id]
