"""`zip-keras prepare_data`: convert annotated images to TFRecord shards with a report, or render a VOC devkit."""

import argparse
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator

from zip_keras.analysis.anchor_fit.fit import fit_anchors
from zip_keras.analysis.data_report import Report, make_report
from zip_keras.cli._options import add_pixels_argument, in_range
from zip_keras.cli._output import write_json
from zip_keras.cli._paths import check_output_file, check_output_folder
from zip_keras.config import AnchorConfig
from zip_keras.config.files import FINETUNING, read_config
from zip_keras.data.checks.defects import BOX_POLICIES, IMAGE_POLICIES, DefectLog
from zip_keras.data.sources import open_dataset
from zip_keras.data.tfrecord.writing import write_shards
from zip_keras.errors import UserError
from zip_keras.utils.environment import versions

DESCRIPTION = """\
Checks annotated images and writes them as TFRecord shards with an index, which train and propose read as records:DIR.

Every image is decoded once. A defect stops the run with an error that names the file, unless --on-bad-box or
--on-bad-image allows it; then it is counted and listed in the report. Grayscale images are valid and only listed. The
report ends with the share of boxes that the anchors of each level cover; DIR/anchor_fit.png plots it.

SPEC is voc:DIR:SPLIT (or DIR:SPLIT), coco:FILE.json[:IMAGES] (or FILE.json), imagenet:DIR:SPLIT, yolo:DIR[:SPLIT],
records:DIR or tfds:NAME:SPLIT."""
EXAMPLES = """\
  zip-keras prepare_data data/voc07:train --output records/voc07_train --workers 8
  zip-keras prepare_data data/bccd:train --output records/bccd --on-bad-box=skip --report report.json
  zip-keras prepare_data instances_train.json --output records/coco --workers 8 --resume
  zip-keras prepare_data data/bccd:train --output records/bccd --config configs/bccd.yaml   # judges its anchors
  zip-keras prepare_data --synthetic 300 --output scenes     # a VOC devkit: scenes:train, scenes:val, scenes:test
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", nargs="?", metavar="SPEC", help="data set, see above")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder for the shards")
    parser.add_argument(
        "--shards", type=in_range(int, low=1), metavar="N", help="number of files (default: about 128 MiB each)"
    )
    parser.add_argument(
        "--workers", type=in_range(int, low=1), metavar="N", help="number of processes (default: CPU cores, at most 16)"
    )
    parser.add_argument("--on-bad-box", choices=BOX_POLICIES, default="error", help="invalid boxes (default: error)")
    parser.add_argument(
        "--on-bad-image",
        choices=IMAGE_POLICIES,
        default="error",
        help="invalid images; repair applies the EXIF orientation and converts CMYK, 16-bit and animated images (first "
        "frame) to 8-bit RGB; images that cannot be repaired are skipped (default: error)",
    )
    add_pixels_argument(parser)
    parser.add_argument(
        "--classes", metavar="FILE", help="class names, one per line, in index order (default: those found)"
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--config",
        metavar="FILE",
        help="check the anchors of this experiment at its image size (default: fine-tuning, as `train`)",
    )
    network.add_argument(
        "--model", help="check the anchors of this model at its image size: preset, run folder, .keras file or export"
    )
    parser.add_argument(
        "--short-side",
        type=in_range(float, low=1),
        metavar="PIXELS",
        help="check the anchors at this short side instead",
    )
    parser.add_argument(
        "--report", metavar="FILE.json", help="also write the report to this file (besides DIR/report.json)"
    )
    parser.add_argument("--resume", action="store_true", help="continue a stopped run")
    parser.add_argument(
        "--synthetic", type=in_range(int, low=1), metavar="N", help="render N scenes as a VOC devkit instead"
    )
    parser.add_argument("--seed", type=in_range(int, low=0), default=0, help="random seed of the scenes (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    workers = arguments.workers or min(16, os.cpu_count() or 1)
    if (arguments.spec is None) == (arguments.synthetic is None):
        raise UserError("give either SPEC or --synthetic N")
    check_output_folder("--output", arguments.output)
    check_output_file("--report", arguments.report)
    if arguments.synthetic is not None:
        _render(arguments.output, arguments.synthetic, arguments.seed, workers)
    else:
        _prepare(arguments, workers)


def _render(folder: str, scenes: int, seed: int, workers: int) -> None:
    from zip_keras.data.synthetic import write_devkit

    start = time.monotonic()
    with progress_bar(scenes, "scenes") as advance:
        write_devkit(folder, scenes, seed, workers, advance)
    seconds = time.monotonic() - start
    print(f"{scenes} scenes in {seconds:.1f} s: {folder}:train, {folder}:val, {folder}:test")


@dataclasses.dataclass(frozen=True)
class _Judged:
    """The anchors that the report evaluates, and the image size in pixels."""

    network: str
    anchors: AnchorConfig
    short_side: float | None
    long_side: float | None = None


def _judged(arguments: argparse.Namespace) -> _Judged:
    if arguments.model:
        from zip_keras.inference.loading import load_keras_proposer

        model = load_keras_proposer(arguments.model)
        judged = _Judged(arguments.model, model.network.config.anchors, model.short_sides[0], model.long_side)
    else:
        config = read_config(arguments.config or FINETUNING)
        name = arguments.config or "the fine-tuning recipe"
        judged = _Judged(name, config.model.anchors, config.data.short_side, config.data.long_side)
    if arguments.short_side is None:
        return judged
    return dataclasses.replace(judged, short_side=arguments.short_side, long_side=None)


def _prepare(arguments: argparse.Namespace, workers: int) -> None:
    judged = _judged(arguments)
    log = DefectLog(arguments.on_bad_box, arguments.on_bad_image)
    classes = read_class_names(arguments.classes) if arguments.classes else None
    dataset = open_dataset(arguments.spec, classes=classes, pixels=arguments.pixels, log=log)
    start = time.monotonic()
    with progress_bar(len(dataset), "images") as advance:
        records = write_shards(
            dataset,
            arguments.output,
            log,
            shards=arguments.shards,
            workers=workers,
            resume=arguments.resume,
            progress=advance,
        )
    seconds = time.monotonic() - start
    written = dataclasses.replace(dataset, records=tuple(records), skipped=log.counts())
    fit = fit_anchors(records, judged.anchors, judged.short_side, judged.long_side, judged.network)
    report = make_report(written, log.defects, fit)
    print(report.text())
    _write_report(report, arguments.output, arguments.report)
    rate = "" if arguments.resume else f", {len(dataset) / seconds:.0f} images/s"
    print(f"records:{arguments.output} holds {len(records)} images ({seconds:.1f} s{rate})")


def _write_report(report: Report, folder: str, extra: str | None) -> None:
    for path in filter(None, (os.path.join(folder, "report.json"), extra)):
        write_json(path, {**report.to_json(), "command": sys.argv, "versions": versions()})
    with contextlib.suppress(ImportError):  # without the train extra there is no picture
        from zip_keras.analysis.anchor_fit.figure import plot_anchor_fit

        plot_anchor_fit(report.anchor_fit, os.path.join(folder, "anchor_fit.png"))


def read_class_names(path: str) -> list[str]:
    """Read class names, one per line in index order.

    Raises:
        UserError: the file is missing or not text, or has no names or repeated names.
    """
    from zip_keras.data.formats.files import read_lines

    names = [line.strip() for line in read_lines(path, max_bytes=16 * 1024 * 1024) if line.strip()]
    if not names or len(set(names)) < len(names):
        raise UserError(f"{path}: must contain class names, one per line, without repetition")
    return names


@contextlib.contextmanager
def progress_bar(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if tqdm is installed, and yield a function that advances it."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda _count: None
        return
    with tqdm(total=total, unit=f" {unit}", smoothing=0.1) as bar:
        yield lambda count: None if count == 0 else (bar.update(count), None)[1]
