"""Program of `test_main.py`: every command with wrong paths; fails where TensorFlow is imported before the error.

`python wrong_paths.py IMAGE FOLDER`, in a folder without files of its own.
"""

import contextlib
import io
import sys

from zip_keras.cli import main

image, folder = sys.argv[1:]
inside = f"{image}/below"  # cannot be written: the image is no folder
data = f"{folder}/nowhere:val"
WRONG = [
    "propose nowhere.jpg",
    f"propose {data}",
    f"propose {image} --model nomodel",
    f"propose {image} --output {inside}.json",
    f"propose {image} --output {folder}/o.json --pictures {inside}",
    "attention nowhere.jpg --model zip_lite --output o",
    f"attention {image} --model nomodel --output {folder}/o",
    f"attention {image} --model zip_lite --output {inside}",
    "benchmark_prediction nowhere.jpg",
    f"benchmark_prediction {image} --model nomodel",
    f"calibrate --model nomodel --data {data} --output c.keras",
    f"calibrate --model zip_lite --data {data} --output c.keras",
    f"calibrate --model zip_lite --data {data} --output {inside}.keras",
    f"export --model nomodel --output {folder}/o",
    f"export --model zip_lite --output {inside}",
    "presets mine --description d --save nomodel",
    f"presets mine --description d --save zip_lite --folder {inside}",
    f"measure {folder}/norun --data {data}",
    f"plot_runs {folder}/norun --output {folder}/o.png",
    f"convert_weights no.pth {folder}/o.npz",
    f"convert_weights {image} {folder}/no/o.npz",
    f"convert_proposals no.json {folder}/o.json",
    f"convert_proposals {image} {inside}.json",
    f"evaluate --ground-truth {data} --proposals no.json",
    f"evaluate --ground-truth {data} --proposals {image} --json {inside}",
    f"compare --ground-truth {data} --proposals no.json",
    f"baseline sliding-windows {data} --output {folder}/o.json",
    f"prepare_data {data} --output {folder}/o",
    f"prepare_data {data} --output {inside}",
    f"ablate no.yaml --output {folder}/o",
    "train --config no.yaml data.train=x:train",
    "train --run-dir norun --resume",
    f"train data.train={data}",
    f"train --run-dir {inside} data.train={data}",
]
for words in WRONG:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = main(words.split())
    told = errors.getvalue()
    assert code == 2, (words, code, told)
    assert told.startswith("error: "), (words, told)
    assert told.count("\n") == 1, (words, told)
    named = ("nowhere", "nomodel", "norun", "no.json", "no.yaml", "no.pth", f"{folder}/no", inside)
    assert any(name in told for name in named), (words, told)
    imported = {"tensorflow", "keras"} & set(sys.modules)
    assert not imported, f"{words}: {imported} imported before: {told}"
print(len(WRONG))
