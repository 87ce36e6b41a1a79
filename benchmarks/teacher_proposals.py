"""Proposals of a detector of others, class-agnostic: a box's best class score ranks it, after an NMS of .7.

    python benchmarks/teacher_proposals.py data/teachers/picodet_s_416_coco.onnx data/bccd:train --output train.npz

Runs PicoDet-S or YOLOX-Nano in ONNX Runtime on the images of a data set. `zip-keras evaluate`, `data.train_proposals`
and `zip-keras detect --proposals` take the file. Needs the extra onnx.
"""

import argparse
from pathlib import Path

from formats import TEACHERS

from zip_keras.data.sources import open_dataset
from zip_keras.inference.runner import propose_records
from zip_keras.predictions.formats import write_predictions
from zip_keras.utils.progress import with_progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path, help=f"a file called {' or '.join(TEACHERS)}")
    parser.add_argument("data", help="data set spec")
    parser.add_argument("--output", required=True, help=".json, .csv, .npz or .parquet")
    parser.add_argument("--on-defect", choices=["error", "skip", "clip"], default="error", help="bad annotations")
    arguments = parser.parse_args()
    if arguments.teacher.name not in TEACHERS:
        parser.error(f"{arguments.teacher}: must be called {' or '.join(TEACHERS)}")
    records = open_dataset(arguments.data, on_defect=arguments.on_defect).records
    run = TEACHERS[arguments.teacher.name](arguments.teacher)
    found = propose_records(run, with_progress(records, len(records)))
    write_predictions(arguments.output, found)
    print(f"{arguments.output}: {found.count} boxes of {len(records)} images")


if __name__ == "__main__":
    main()
