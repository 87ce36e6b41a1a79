"""Formats of one model side by side: size, difference from the Keras model, accuracy, time.

    python benchmarks/formats.py --model zip_lite --data data/voc07:val --images 200 --output formats
    python benchmarks/formats.py --model zip_lite_detector --formats saved_model keras onnx openvino

Exports the model in every format and runs all of them on the same images in turns, so that a busy machine slows all of
them. Prints a table and writes OUTPUT.json and OUTPUT.md. Accuracy is average recall of a proposer and AP of a
detector. A change of it is paired: a format and its float32 on the same images, with the 95 % interval of a bootstrap
over images. A time is from pixels to the list of boxes; its ratio is the median, over the images, of the time beside
that of the first format. Of LiteRT's two files, upright and lying, each image takes the one that fits.

With --teachers data/teachers two detectors of others run beside a proposer in ONNX Runtime, class-agnostic, with an NMS
of .7. Needs the extras onnx, openvino and litert; runs on as many cores as the process may use (`taskset -c 0,1 ...`).
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.data.records import ImageRecord
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.average_precision import twelve_numbers
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.bootstrap import Comparison as Change
from zip_keras.evaluation.bootstrap import compare_recall
from zip_keras.evaluation.curves import found_per_image
from zip_keras.evaluation.detection_bootstrap import METRICS, compare_average_precision
from zip_keras.evaluation.detection_matching import match_detections
from zip_keras.evaluation.ground_truth import GroundTruth, from_dataset
from zip_keras.evaluation.protocols import AREA_RANGES
from zip_keras.export.formats import FORMATS, FormatOptions
from zip_keras.export.saved_model import export_model
from zip_keras.export.verification import Comparison
from zip_keras.inference.boxes import Boxes
from zip_keras.inference.detectors import DetectorRunner, add_detections, load_keras_detector, open_detector
from zip_keras.inference.loading import load_keras_proposer
from zip_keras.inference.model_files import is_detector
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runner import InferenceRunner, load_image
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.predictions.container import Predictions
from zip_keras.utils.environment import machine, versions
from zip_keras.utils.optional import optional_import

Runner = Callable[[np.ndarray], Boxes | dict[str, np.ndarray]]  # of a proposer, of a detector
WARM_UP = 3
LEAST = 20  # images that are measured
CALIBRATION = 100  # images for int8
DRAWS = 500
FILES = {  # of each format, in the folder of a version; "*" is "proposer" or "detector"
    "keras": ("assets.extra/*.keras",),
    "saved_model": ("saved_model.pb", "variables"),
    "onnx": ("onnx/model.onnx",),
    "onnx_float16": ("onnx/model_float16.onnx",),
    "openvino": ("openvino/model.xml", "openvino/model.bin"),
    "openvino_bfloat16": ("openvino/model_bfloat16.xml", "openvino/model_bfloat16.bin"),
    "openvino_int8": ("openvino/model_int8.xml", "openvino/model_int8.bin"),
    "litert": ("litert/*.tflite",),
}
FLOAT32 = {"onnx_float16": "onnx", "openvino_bfloat16": "openvino", "openvino_int8": "openvino", "litert": "keras"}
NUMBERS = {"proposer": ("AR@10", "AR@100", "AR@1000"), "detector": ("AP50", "AP")}
COMPARED = {"proposer": "AR@100", "detector": "AP50"}
TEACHER_SIDE, TEACHER_NMS, TEACHER_BOXES = 416, 0.7, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="zip_lite")
    parser.add_argument("--data", default="data/voc07:val", help="images that are measured")
    parser.add_argument("--images", type=int, default=200, help="the first of them; 0: export alone")
    parser.add_argument("--minutes", type=float, help="measure what is done after these, 20 images at least")
    parser.add_argument("--calibration", default="data/voc07:train", help="images for int8")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--exports", type=Path, help="keep the exports there, and take those that are there")
    parser.add_argument("--teachers", type=Path, help="folder of picodet_s_416_coco.onnx and yolox_nano.onnx")
    parser.add_argument("--output", type=Path, default=Path("formats"), help="OUTPUT.json and OUTPUT.md")
    arguments = parser.parse_args()
    started = time.monotonic()

    dataset = open_dataset(arguments.data)
    dataset = dataclasses.replace(dataset, records=dataset.records[: arguments.images])
    kind = "detector" if is_detector(arguments.model) else "proposer"
    load = load_keras_detector if kind == "detector" else load_keras_proposer
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.exports or Path(temporary)
        int8 = [name for name in arguments.formats if name == "openvino_int8"]
        others = [name for name in arguments.formats if name not in int8]
        parts = [part for names in (int8, others) if names for part in exported(load, folder, names, arguments)]
        if not arguments.images:
            return
        if not any(compared for _, compared in parts):
            raise SystemExit("no format answers as the Keras model does")
        files = {name: files_of(name, version) for version, compared in parts for name in compared}
        files = {name: files[name] for name in arguments.formats if name in files}
        differences = {name: one for _, compared in parts for name, one in compared.items()}
        runners = {name: open_format(name, of_format, kind) for name, of_format in files.items()}
        sizes = {
            name: _megabytes(of_format[:1] if name == "litert" else of_format) for name, of_format in files.items()
        }
        for name, make in TEACHERS.items() if arguments.teachers else ():
            runners[name] = make(arguments.teachers / name)
            sizes[name] = _megabytes([arguments.teachers / name])
        end = float("inf") if arguments.minutes is None else started + 60 * arguments.minutes
        found, times = run_in_turns(runners, dataset.records, end)
    done = len(next(iter(times.values())))
    dataset = dataclasses.replace(dataset, records=dataset.records[:done])
    measured = measure(kind, from_dataset(dataset), found)
    first = np.array(next(iter(times.values())))
    rows = [
        {
            "format": name,
            "megabytes": sizes[name],
            "difference": differences.get(name),
            **measured[name],
            "milliseconds": 1000 * statistics.median(times[name]),
            "milliseconds_p90": 1000 * float(np.quantile(times[name], 0.9)),
            "ratio": float(np.median(np.array(times[name]) / first)),
        }
        for name in runners
    ]
    content = {
        "model": arguments.model,
        "data": arguments.data,
        "images": len(dataset.records),
        "rows": rows,
        "machine": machine(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
    }
    arguments.output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(table(rows, kind), encoding="utf-8")
    print(table(rows, kind))


def exported(
    load: Callable[[str], Proposer | Detector], exports: Path, formats: list[str], arguments: argparse.Namespace
) -> list[tuple[Path, dict[str, float]]]:
    """Folders of versions with these formats, and how far each is from the Keras model (99 % of the boxes).

    One folder holds all. If a format exceeds its bound, it is printed and left out, and the others have a folder each.
    """
    folder = exports / "+".join(formats)
    version, record = folder / "1", folder / "differences.json"
    if record.is_file():
        known = json.loads(record.read_text(encoding="utf-8"))
        return [(version, {name: known[name] for name in formats})]
    differences: dict[str, float] = {}

    def report(comparison: Comparison) -> None:
        print(comparison, flush=True)
        before = differences.get(comparison.format, 0.0)  # LiteRT has two files
        differences[comparison.format] = max(before, comparison.difference)

    calibration = []
    if "openvino_int8" in formats:
        calibration = [load_image(record) for record in open_dataset(arguments.calibration).records[:CALIBRATION]]
    try:
        options = FormatOptions(calibration_images=calibration)
        export_model(load(arguments.model), folder, 1, formats=formats, options=options, report=report)
    except UserError as error:
        print(error, flush=True)
        if len(formats) == 1:
            return [(version, {})]
        return [part for name in formats for part in exported(load, exports, [name], arguments)]
    record.write_text(json.dumps(differences) + "\n", encoding="utf-8")
    return [(version, differences)]


def files_of(name: str, version: Path) -> list[Path]:
    """The files of a format in the folder of a version."""
    return sorted(file for pattern in FILES[name] for file in version.glob(pattern))


def open_format(name: str, files: list[Path], kind: str) -> Runner:
    """A format as a function of one image."""
    if name == "litert":
        lying, upright = (_open(file, kind) for file in files)  # by name, so the smaller height first
        return lambda image: (lying if image.shape[0] <= image.shape[1] else upright)(image)
    if name == "saved_model":
        version = files[0].parent
        return DetectorRunner(_SavedDetector(version), ()) if kind == "detector" else _open(version, kind)
    return _open(next(file for file in files if file.suffix != ".bin"), kind)


class _SavedDetector:
    """The graph of an exported SavedModel as it was saved; `zip-keras detect` runs the Keras file beside it."""

    def __init__(self, version: Path):
        self._loaded = tf.saved_model.load(str(version))  # has to stay: it owns the variables

    def __call__(self, images: np.ndarray) -> dict[str, tf.Tensor]:
        answer = self._loaded.signatures["serving_default"](images=tf.constant(images))
        return {name: answer[name] for name in ("boxes", "scores", "classes", "levels", "valid")}


def _open(file: Path, kind: str) -> Runner:
    return open_detector(file) if kind == "detector" else InferenceRunner(file, InferenceOptions())


def run_in_turns(
    runners: dict[str, Runner], records: Sequence[ImageRecord], end: float
) -> tuple[dict[str, Predictions], dict[str, list[float]]]:
    """Every image through every runner before the next image, until `end`: boxes and seconds by runner."""
    found = {name: Predictions(name) for name in runners}
    times: dict[str, list[float]] = {name: [] for name in runners}
    first = load_image(records[0])
    for runner in runners.values():
        for image in [first, first.swapaxes(0, 1)] * WARM_UP:  # lying and upright
            runner(image)
    for number, record in enumerate(records):
        if number % 20 == 0:
            print(f"{number} of {len(records)} images", flush=True)
        if number >= LEAST and time.monotonic() > end:
            break
        image = load_image(record)
        for name, runner in runners.items():
            started = time.perf_counter()
            boxes = runner(image)
            times[name].append(time.perf_counter() - started)
            if isinstance(boxes, dict):
                add_detections(found[name], record.image_id, boxes)
            else:
                found[name].add(record.image_id, boxes.boxes, boxes.scores, boxes.levels)
    return found, times


def measure(kind: str, truth: GroundTruth, found: dict[str, Predictions]) -> dict[str, dict[str, Any]]:
    """Of each format its numbers, and `change` beside its float32 where that is another format that ran."""
    if kind == "proposer":
        numbers = {name: average_recall(truth, one, "fast") for name, one in found.items()}
    else:
        matches = {name: match_detections(truth, one, ranges=AREA_RANGES) for name, one in found.items()}
        numbers = {name: twelve_numbers(one) for name, one in matches.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name in found:
        rows[name] = {number: float(numbers[name][number]) for number in NUMBERS[kind]}
        if (base := FLOAT32.get(name)) not in found:
            continue
        if kind == "proposer":
            (own, objects), (other, _) = (found_per_image(truth, found[one], 100) for one in (name, base))
            change: Change = compare_recall(own, other, objects, DRAWS)
        else:
            change = compare_average_precision(
                *([of_class.at(METRICS["AP50"]) for of_class in matches[one]] for one in (name, base)), DRAWS
            )
        rows[name]["change"] = {"of": COMPARED[kind], "from": base, **dataclasses.asdict(change)}
    return rows


def table(rows: list[dict], kind: str) -> str:
    """Markdown."""
    header = ["format", "MB", "difference", *NUMBERS[kind], f"change of {COMPARED[kind]} from float32", "ms", "ratio"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        change = ""
        if "change" in row:
            bounds = row["change"]["difference"]
            change = f"{bounds['value']:+.4f} ({bounds['low']:+.4f} to {bounds['high']:+.4f})"
        lines.append(
            [
                row["format"],
                f"{row['megabytes']:.1f}",
                "" if row["difference"] is None else f"{row['difference']:.1e}",
                *(f"{row[name]:.3f}".lstrip("0") for name in NUMBERS[kind]),
                change,
                f"{row['milliseconds']:.0f}",
                f"{row['ratio']:.2f}",
            ]
        )
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _megabytes(parts: list[Path]) -> float:
    files = [file for part in parts for file in (part.rglob("*") if part.is_dir() else [part]) if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _session(file: Path):
    library = optional_import("onnxruntime", str(file), "onnx")
    options = library.SessionOptions()
    options.intra_op_num_threads = machine()["cores"]
    return library.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def picodet(file: Path) -> Runner:
    """PicoDet-S (PaddleDetection): one 416 x 416 image, boxes as distributions over 8 bins of the four sides."""
    session = _session(file)
    mean, deviation = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
    strides = np.concatenate([np.full(_cells(stride) ** 2, stride, np.float32) for stride in (8, 16, 32, 64)])
    centres = np.concatenate([(_grid(stride) + 0.5) * stride for stride in (8, 16, 32, 64)])

    def run(image: np.ndarray) -> Boxes:
        resized = tf.image.resize(image, (TEACHER_SIDE, TEACHER_SIDE)).numpy()
        outputs = session.run(None, {"image": ((resized - mean) / deviation).transpose(2, 0, 1)[None]})
        scores = np.concatenate([x[0] for x in outputs[:4]]).max(axis=1)
        bins = np.concatenate([x[0] for x in outputs[4:]]).reshape(-1, 4, 8)
        bins = np.exp(bins - bins.max(axis=2, keepdims=True))
        left, top, right, bottom = ((bins / bins.sum(axis=2, keepdims=True)) @ np.arange(8.0) * strides[:, None]).T
        x, y = centres.T
        scale = np.array(image.shape[:2] * 2, np.float32) / TEACHER_SIDE
        return _suppressed(np.stack([y - top, x - left, y + bottom, x + right], axis=1) * scale, scores, image)

    return run


def yolox(file: Path) -> Runner:
    """YOLOX-Nano (Megvii): the image in the corner of 416 x 416, BGR."""
    session = _session(file)
    strides = np.concatenate([np.full(_cells(stride) ** 2, stride, np.float32) for stride in (8, 16, 32)])[:, None]
    cells = np.concatenate([_grid(stride) for stride in (8, 16, 32)])

    def run(image: np.ndarray) -> Boxes:
        factor = TEACHER_SIDE / max(image.shape[:2])
        inner = [round(side * factor) for side in image.shape[:2]]
        padded = np.full((TEACHER_SIDE, TEACHER_SIDE, 3), 114, np.float32)
        padded[: inner[0], : inner[1]] = tf.image.resize(image, inner).numpy()
        output = session.run(None, {"images": padded[..., ::-1].transpose(2, 0, 1)[None]})[0][0]
        centre, sides = (output[:, :2] + cells) * strides, np.exp(output[:, 2:4]) * strides
        corners = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)[:, [1, 0, 3, 2]] / factor
        return _suppressed(corners, output[:, 4] * output[:, 5:].max(axis=1), image)

    return run


def _cells(stride: int) -> int:
    return -(-TEACHER_SIDE // stride)


def _grid(stride: int) -> np.ndarray:
    """Column and row of every cell, float32 `[cells, 2]`, row by row."""
    y, x = np.mgrid[: _cells(stride), : _cells(stride)]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _suppressed(boxes: np.ndarray, scores: np.ndarray, image: np.ndarray) -> Boxes:
    boxes = np.clip(boxes, 0, np.array(image.shape[:2] * 2)).astype(np.float32)
    kept = tf.image.non_max_suppression(boxes, scores.astype(np.float32), TEACHER_BOXES, TEACHER_NMS).numpy()
    return Boxes(boxes[kept], scores[kept].astype(np.float32), np.zeros(len(kept), np.int32))


TEACHERS = {"picodet_s_416_coco.onnx": picodet, "yolox_nano.onnx": yolox}

if __name__ == "__main__":
    main()
