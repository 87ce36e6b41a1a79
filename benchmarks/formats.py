"""Formats of one model side by side: size, difference from the Keras model, average recall, milliseconds.

    python benchmarks/formats.py --model zip_lite --data data/voc07:val --images 100 --output formats

Exports the model in every format, runs all of them on the same images in turns, so that a busy machine slows all of
them, and writes OUTPUT.json and OUTPUT.md. A time is the median over the images, from pixels to the list of boxes. With
--teachers data/teachers two detectors of others run beside them in ONNX Runtime, class-agnostic, with an NMS of .7.
Needs the extras onnx, openvino and litert; runs on as many cores as the process may use (`taskset -c 0,1 ...`).
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from zip_keras.data.sources import open_dataset
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.export.formats import FORMATS, FormatOptions
from zip_keras.export.saved_model import export_model
from zip_keras.export.verification import Comparison
from zip_keras.inference.boxes import Boxes
from zip_keras.inference.loading import load_keras_proposer
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runner import InferenceRunner, load_image
from zip_keras.predictions.container import Predictions
from zip_keras.utils.environment import machine, versions
from zip_keras.utils.optional import optional_import

Runner = Callable[[np.ndarray], Boxes]
WARM_UP = 3
CALIBRATION = 100  # images for int8
FILES = {  # of each format, in the folder of a version
    "keras": ("assets.extra/proposer.keras",),
    "saved_model": ("saved_model.pb", "variables"),
    "onnx": ("onnx/model.onnx",),
    "onnx_float16": ("onnx/model_float16.onnx",),
    "openvino": ("openvino/model.xml", "openvino/model.bin"),
    "openvino_bfloat16": ("openvino/model_bfloat16.xml", "openvino/model_bfloat16.bin"),
    "openvino_int8": ("openvino/model_int8.xml", "openvino/model_int8.bin"),
}
TEACHER_SIDE, TEACHER_NMS, TEACHER_BOXES = 416, 0.7, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="zip_lite")
    parser.add_argument("--data", default="data/voc07:val", help="images that are measured")
    parser.add_argument("--images", type=int, default=100, help="the first of them")
    parser.add_argument("--calibration", default="data/voc07:train", help="images for int8")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--litert-size", nargs=2, type=int, default=(416, 544), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--teachers", type=Path, help="folder of picodet_s_416_coco.onnx and yolox_nano.onnx")
    parser.add_argument("--output", type=Path, default=Path("formats"), help="OUTPUT.json and OUTPUT.md")
    arguments = parser.parse_args()

    dataset = open_dataset(arguments.data)
    dataset = dataclasses.replace(dataset, records=dataset.records[: arguments.images])
    with tempfile.TemporaryDirectory() as folder:
        comparisons: list[Comparison] = []
        calibration = []
        if "openvino_int8" in arguments.formats:
            calibration = [load_image(record) for record in open_dataset(arguments.calibration).records[:CALIBRATION]]
        version = export_model(
            load_keras_proposer(arguments.model),
            Path(folder) / "formats",
            formats=arguments.formats,
            options=FormatOptions([tuple(arguments.litert_size)], calibration),
            report=lambda comparison: (comparisons.append(comparison), print(comparison, flush=True)),
        )
        files = {name: [version / part for part in FILES[name]] for name in arguments.formats if name in FILES}
        if "litert" in arguments.formats:
            files["litert"] = sorted(version.glob("litert/*.tflite"))
        runners: dict[str, Runner] = {
            name: InferenceRunner(version if name == "saved_model" else parts[0], InferenceOptions())
            for name, parts in files.items()
        }
        sizes = {name: _megabytes(parts) for name, parts in files.items()}
        for name, make in TEACHERS.items() if arguments.teachers else ():
            runners[name] = make(arguments.teachers / name)
            sizes[name] = _megabytes([arguments.teachers / name])
        found, times = run_in_turns(runners, dataset.records)
    truth = from_dataset(dataset)
    differences = {comparison.format: comparison for comparison in comparisons}
    rows = []
    for name in runners:
        recall = average_recall(truth, found[name], "fast")
        compared = differences.get(name)
        rows.append(
            {
                "format": name,
                "megabytes": sizes[name],
                "difference": compared and compared.difference,
                "share_beyond_bound": compared and compared.share,
                "AR@100": recall["AR@100"],
                "AR@1000": recall["AR@1000"],
                "milliseconds": 1000 * statistics.median(times[name]),
                "milliseconds_p90": 1000 * float(np.quantile(times[name], 0.9)),
            }
        )
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
    arguments.output.with_suffix(".md").write_text(table(rows), encoding="utf-8")
    print(table(rows))


def run_in_turns(runners: dict[str, Runner], records) -> tuple[dict[str, Predictions], dict[str, list[float]]]:
    """Every image through every runner before the next image: boxes and seconds by runner."""
    found = {name: Predictions(name) for name in runners}
    times: dict[str, list[float]] = {name: [] for name in runners}
    first = load_image(records[0])
    for runner in runners.values():
        for _ in range(WARM_UP):
            runner(first)
    for record in records:
        image = load_image(record)
        for name, runner in runners.items():
            started = time.perf_counter()
            boxes = runner(image)
            times[name].append(time.perf_counter() - started)
            found[name].add(record.image_id, boxes.boxes, boxes.scores, boxes.levels)
    return found, times


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| format | MB | difference | AR@100 | AR@1000 | ms, median | ms, 90 % |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        difference = "" if row["difference"] is None else f"{row['difference']:.1e}"
        recalls = " | ".join(f"{row[name]:.3f}".lstrip("0") for name in ("AR@100", "AR@1000"))
        lines.append(
            f"| {row['format']} | {row['megabytes']:.1f} | {difference} | {recalls} | {row['milliseconds']:.0f} "
            f"| {row['milliseconds_p90']:.0f} |"
        )
    return "\n".join(lines) + "\n"


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
