"""`zip-keras demo`: the whole workflow on rendered scenes: data, fine-tuning, average recall, export, pictures."""

import argparse
import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from zip_keras.config.files import read_config
from zip_keras.errors import UserError

DESCRIPTION = """\
Renders a data set, fine-tunes a preset on it, compares average recall before and after on held-out scenes, exports the
result, and draws proposals on held-out scenes and two photographs, and detections on one photograph. Each step is a
command that you can run on your own images. The demo takes a few minutes on two cores.

The same command continues a stopped demo."""
EXAMPLES = """\
  zip-keras demo
  zip-keras demo --scenes 800 --work-dir runs/longer train.steps=1000"""

# From scikit-image, CC0. By Rachel Michetti, courtesy of Pikolo Espresso Bar, and by Stéfan van der Walt.
PHOTOGRAPHS = ("docs/images/coffee.jpg", "docs/images/chelsea.jpg")
DETECTOR = "zip_lite_detector"
BUDGET = 1000  # proposals per image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--work-dir", default="runs/demo", metavar="DIR", help="folder for data and results (default: runs/demo)"
    )
    parser.add_argument(
        "--export-dir", default="exported/demo", metavar="DIR", help="folder for the export (default: exported/demo)"
    )
    parser.add_argument(
        "--config", default="configs/demo.yaml", metavar="FILE", help="training config (default: configs/demo.yaml)"
    )
    parser.add_argument(
        "--scenes", type=int, default=400, metavar="N", help="number of scenes, a tenth held out (default: 400)"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the config's")


def run(arguments: argparse.Namespace) -> None:
    start = time.monotonic()
    work, exported = Path(arguments.work_dir), Path(arguments.export_dir)
    scenes, trained = work / "scenes", work / "run"
    before, after, comparison = work / "before.json", work / "after.json", work / "comparison.json"
    data = (f"data.train={scenes}:train", f"data.val={scenes}:val")
    config = read_config(arguments.config, [*data, *arguments.overrides])
    preset = config.train.weights
    if not preset:
        raise UserError(f"{arguments.config}: train.weights is empty; name the preset that the demo starts from")
    held_out = f"{scenes}:test"
    same = ("--scales", config.data.short_side, "--long-side", config.data.long_side, "--max-proposals", BUDGET)

    if not scenes.exists():
        _command("prepare_data", "--synthetic", arguments.scenes, "--output", scenes)
    _command("propose", held_out, "--model", preset, "--output", before, *same, "--pictures", work / "before")
    _command("train", "--config", arguments.config, "--run-dir", trained, "--resume", *data, *arguments.overrides)
    if (exported / "1").exists():
        shutil.rmtree(exported / "1")
    _command("export", "--model", trained, "--output", exported, "--version", 1)
    _command("propose", held_out, "--model", exported, "--output", after, "--pictures", work / "after")
    files = ("--proposals", before, after, "--names", preset, "fine-tuned")
    _command("compare", "--ground-truth", held_out, *files, "--json", comparison, "--plot", work / "recall.png")
    photographs = [name for name in PHOTOGRAPHS if Path(name).is_file()]
    if photographs:
        boxes, pictures = work / "photographs.json", work / "photographs"
        _command("propose", *photographs, "--model", preset, "--output", boxes, "--pictures", pictures)
        objects, pictures = work / "objects.json", work / "objects"
        _command("detect", photographs[-1], "--model", DETECTOR, "--output", objects, "--pictures", pictures)

    print(f"""
Done in {(time.monotonic() - start) / 60:.1f} minutes. On {_count(scenes / "ImageSets/Main/test.txt")} held-out scenes \
(protocol coco, class-agnostic, short side {config.data.short_side}):

{_table(json.loads(comparison.read_text()))}

  {work}/before/, after/     held-out scenes with the best boxes before and after training
  {work}/photographs/        two photographs with the preset's boxes
  {work}/objects/            one of them with the detections of {DETECTOR}
  {work}/recall.png          recall against IoU and the number of proposals
  {trained}/                 config, checkpoints, metrics.jsonl, best.keras; tensorboard --logdir {trained}
  {exported}/1/          the SavedModel for TensorFlow Serving, and the .keras file for Python

On your own images:
  python scripts/propose.py my_photo.jpg --model {preset} --output proposals.json --pictures out
  python scripts/prepare_data.py my_devkit:train --output records/mine      checks your annotations
  python scripts/train.py --config {arguments.config} --run-dir runs/mine \\
      data.train=my_devkit:train data.val=my_devkit:val train.steps=1000
""")


def _command(name: str, *options: object) -> None:
    """Print a command as the user would type it, and run it."""
    from zip_keras.cli.main import main

    words = [str(option) for option in options]
    print(f"\n$ python scripts/{name}.py {shlex.join(words)}", file=sys.stderr, flush=True)
    code = main([name, *words])
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"the demo stopped at {name}, see above")


def _count(file: Path) -> int:
    return len(file.read_text().split())


def _table(comparison: dict[str, Any]) -> str:
    """A table of the compared methods: AR at several numbers of proposals, and AR@100 by object size."""
    columns = ("AR@10", "AR@100", "AR@1000", "AR@100-S", "AR@100-M", "AR@100-L")
    width = max(map(len, comparison["methods"]))
    lines = ["  " + " " * width + "".join(f"{column:>10}" for column in columns)]
    for name, recall in comparison["methods"].items():
        cells = ("-" if recall[column] is None else f"{recall[column]:.3f}" for column in columns)
        lines.append(f"  {name:<{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)
