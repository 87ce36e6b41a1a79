"""`zip-keras batch`: predict on many images with Apache Beam."""

import argparse
import os

from zip_keras.cli import _options
from zip_keras.errors import UserError
from zip_keras.inference.model_files import SAVED_MODEL_FILE, find_model
from zip_keras.utils.optional import optional_import

DESCRIPTION = """\
Writes the boxes of many images to --output/boxes-NNNNN-of-NNNNN.parquet. Images without an answer are listed with the
reason in bad-NNNNN-of-NNNNN.jsonl. PATTERN names image files (photos/**.jpg, gs://bucket/*.png), a folder, or with
--records TFRecord files of tf.train.Example with image/encoded. --model is an export of a proposer or a detector.

A shard appears when it is complete, and the same command continues a stopped job. Paths are those of Apache Beam;
workers on other machines must be able to reach them. --runner and --beam-options choose where the job runs: Flink,
Spark, Dataflow, or processes on this machine (--workers)."""
EXAMPLES = """\
  zip-keras batch photos/ --model exported/lite --output boxes/ --workers 4
  zip-keras batch 'records/val-*' --records --model exported/lite --output boxes/
  zip-keras batch 'gs://bucket/photos/**.jpg' --model gs://bucket/exported/lite/1 --output gs://bucket/boxes \\
      --runner DataflowRunner --beam-options project=NAME region=europe-west1 temp_location=gs://bucket/tmp
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive = _options.in_range(int, low=1)
    parser.add_argument("patterns", nargs="+", metavar="PATTERN", help="image files, a folder, or TFRecord files")
    parser.add_argument("--model", required=True, metavar="EXPORT", help="exported folder, or one of its versions")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the shards")
    parser.add_argument("--records", action="store_true", help="PATTERN names TFRecord files; write one shard per file")
    parser.add_argument(
        "--images-per-shard",
        type=positive,
        default=500,
        metavar="N",
        help="images per shard; unit of work and restart (default: 500)",
    )
    parser.add_argument(
        "--ids",
        choices=["integer", "text"],
        help="type of the column image_id (default: integer if all file names are numbers)",
    )
    parser.add_argument("--max-boxes", type=positive, metavar="N", help="maximum number of boxes per image")
    parser.add_argument(
        "--score-threshold", type=_options.in_range(float), metavar="S", help="leave out boxes with a lower score"
    )
    group = parser.add_argument_group("where the job runs")
    group.add_argument("--runner", default="DirectRunner", metavar="NAME", help="Beam runner (default: DirectRunner)")
    group.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="number of DirectRunner processes (default: 1)"
    )
    group.add_argument(
        "--beam-options", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="further Beam options"
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.workers > 1 and arguments.runner != "DirectRunner":
        raise UserError("--workers is for the DirectRunner; use --beam-options to set the workers of other runners")
    model = arguments.model
    if "://" not in model:
        path = find_model(model)
        if not (path / SAVED_MODEL_FILE).is_file():
            raise UserError(f"--model {model}: is not an export; write one with zip-keras export")
        model = str(path.resolve())  # workers may have another working folder
    optional_import("apache_beam", "batch", "beam")
    optional_import("pyarrow", "batch", "beam")
    from zip_keras.batch.pipeline import run_batch

    os.environ.setdefault("ZIP_KERAS_LAZY", "1")  # for worker processes
    summary = run_batch(
        arguments.patterns,
        model,
        arguments.output,
        records=arguments.records,
        images_per_shard=arguments.images_per_shard,
        ids=arguments.ids,
        max_boxes=arguments.max_boxes,
        score_threshold=arguments.score_threshold,
        beam_options=_beam_options(arguments),
    )
    kept = f", {summary.kept} of them already done" if summary.kept else ""
    print(f"{arguments.output}: {summary.boxes} boxes of {summary.images} images in {summary.shards} shards{kept}")
    if summary.bad:
        print(f"  without an answer: {summary.bad}; see bad-*.jsonl for the reasons")


def _beam_options(arguments: argparse.Namespace) -> list[str]:
    options = [f"--runner={arguments.runner}"]
    if arguments.runner == "DirectRunner":
        mode = "multi_processing" if arguments.workers > 1 else "in_memory"
        options += [f"--direct_num_workers={arguments.workers}", f"--direct_running_mode={mode}"]
    for word in arguments.beam_options:
        if "=" not in word:
            raise UserError(f"--beam-options {word}: write NAME=VALUE")
        options.append(f"--{word.lstrip('-')}")
    return options
