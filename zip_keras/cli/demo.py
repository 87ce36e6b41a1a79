"""`zip-keras demo`: the whole way on rendered scenes: data, training, average recall, export, pictures."""

import argparse
import json
import shlex
import shutil
import sys
import time
from pathlib import Path

from zip_keras.errors import UserError

DESCRIPTION = """\
Renders a data set, trains a narrow ZIP + MAD network on it, measures its average recall on held-out scenes, exports it
and draws its proposals: every step is a command that you can run on your own images. Some minutes on two cores.

Started again, it goes on where it was stopped."""
EXAMPLES = """\
  zip-keras demo
  zip-keras demo --scenes 500 --work-dir runs/demo train.steps=2000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work-dir", default="runs/demo", metavar="DIR", help="default: runs/demo")
    parser.add_argument("--export-dir", default="exported/demo", metavar="DIR", help="default: exported/demo")
    parser.add_argument("--config", default="configs/demo.yaml", metavar="FILE", help="default: configs/demo.yaml")
    parser.add_argument("--scenes", type=int, default=400, metavar="N", help="default: 400, a tenth of them held out")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the config's")


def run(arguments: argparse.Namespace) -> None:
    start = time.monotonic()
    work, exported = Path(arguments.work_dir), Path(arguments.export_dir)
    scenes, trained = work / "scenes", work / "run"
    proposals, recall, pictures = work / "proposals.json", work / "recall.json", work / "pictures"
    if not scenes.exists():
        _command("prepare_data", "--synthetic", arguments.scenes, "--output", scenes)
    data = (f"data.train={scenes}:train", f"data.val={scenes}:val")
    _command("train", "--config", arguments.config, "--run-dir", trained, "--resume", *data, *arguments.overrides)
    if (exported / "1").exists():
        shutil.rmtree(exported / "1")
    _command("export", "--model", trained, "--output", exported, "--version", 1)
    _command("propose", f"{scenes}:test", "--model", exported, "--output", proposals, "--pictures", pictures)
    _command("evaluate", "--ground-truth", f"{scenes}:test", "--proposals", proposals, "--json", recall)
    numbers = json.loads(recall.read_text())
    print(f"""
Done in {(time.monotonic() - start) / 60:.1f} minutes. On {_count(scenes / "ImageSets/Main/test.txt")} held-out scenes \
(protocol coco, class-agnostic):
  AR@10 {numbers["AR@10"]:.3f}   AR@100 {numbers["AR@100"]:.3f}   \
small/medium/large {_show(numbers["AR@100-S"])} / {_show(numbers["AR@100-M"])} / {_show(numbers["AR@100-L"])}

  {scenes}/           the rendered data set, a VOC devkit
  {trained}/              config, checkpoints, metrics.jsonl, best.keras; tensorboard --logdir {trained}
  {exported}/1/          the SavedModel for TensorFlow Serving, and the .keras file for Python
  {pictures}/         proposals of the exported model on held-out scenes

On your own images:
  python scripts/propose.py my_photo.jpg --model {exported} --output proposals.json --pictures out
  python scripts/prepare_data.py my_devkit:train --output records/mine      checks your annotations
  python scripts/train.py --config {arguments.config} --run-dir runs/mine \\
      data.train=my_devkit:train data.val=my_devkit:val
""")


def _command(name: str, *options: object) -> None:
    """Runs one command of this program, shown as the user would type it."""
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


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
