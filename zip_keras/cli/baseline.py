"""`zip-keras baseline`: write the proposals of methods without training, for comparison."""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from zip_keras.cli._options import PROPOSAL_FILE, in_range
from zip_keras.cli._output import print_counts
from zip_keras.cli._paths import check_output_file
from zip_keras.data.checks.images import decode_with_pillow
from zip_keras.data.encoded import describe, read_encoded
from zip_keras.data.records import ImageRecord
from zip_keras.data.sources import open_dataset
from zip_keras.inference.baselines import METHODS, scores_of
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import check_ids, format_of, write_predictions
from zip_keras.utils.environment import note_environment
from zip_keras.utils.progress import with_progress

DESCRIPTION = """\
Writes proposals of methods without training: Selective Search with its two settings (needs OpenCV's contrib modules:
pip install 'zip-keras[baselines]'), sliding windows, or the network's anchors in random order."""
EXAMPLES = """\
  zip-keras baseline selective-search-fast data/voc07:val --output selective_search.json
  zip-keras baseline sliding-windows data/voc07:val --output windows.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("data", metavar="DATA", help="DEVKIT:SPLIT, instances.json or another data set spec")
    parser.add_argument("--output", required=True, metavar="FILE", help=PROPOSAL_FILE)
    parser.add_argument(
        "--max-proposals",
        type=in_range(int, low=1),
        default=1000,
        metavar="N",
        help="proposals per image (default: 1000)",
    )
    parser.add_argument(
        "--workers",
        type=in_range(int, low=1),
        default=os.cpu_count(),
        metavar="N",
        help="number of processes (default: CPU cores)",
    )


def run(arguments: argparse.Namespace) -> None:
    format_of(arguments.output)
    check_output_file("--output", arguments.output)
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
    made_by = {name: getattr(arguments, name) for name in ("method", "data", "max_proposals")}
    note_environment(arguments.output, {**made_by, "images": dataset.digest()})
    print(
        f"{arguments.output}: {boxes} boxes of {len(records)} images, "
        f"{seconds * arguments.workers / len(records):.3f} s per image and process"
    )
    print_counts(dataset.skipped, "left out")


def propose_record(method: str, count: int, record: ImageRecord) -> ImagePredictions:
    """The first `count` proposals of a method for one image. Runs in a worker process.

    Raises:
        UserError: the image is missing or broken, or the method's library is missing.
    """
    encoded = read_encoded(record.file, record.offset, record.length)
    image = decode_with_pillow(encoded, describe(record.file, record.offset, record.length))
    boxes = METHODS[method](image)[:count]
    result = Predictions()
    result.add(record.image_id, boxes, scores_of(len(boxes)))
    return result[record.image_id]
