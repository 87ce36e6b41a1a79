"""Stands in for `zip-keras train` and `zip-keras measure`: writes what they leave behind, in a tenth of a second.

What happens goes by the config: `model.head_channels=13` fails, `=14` is killed, `=15` waits to be interrupted. The
recall of a run is `model.width` + seed / 100.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml


def train(base, folder, overrides):
    from zip_keras.config.files import config_text, read_config

    config = read_config(base, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config_text(config))
    print("train: 1/1 steps\r", end="", flush=True)
    if config.model.head_channels == 13:
        sys.exit("error: thirteen channels\nsaid after the error")
    if config.model.head_channels == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.model.head_channels == 15 and not (folder / "interrupted").exists():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
        print("waits", flush=True)
        try:
            time.sleep(3600)  # the interrupt comes first
        finally:
            (folder / "interrupted").touch()


def measure(folder, data, height, width):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    value = config["model"]["width"] + config["train"]["seed"] / 100
    recalls, precisions = ("AR@10", "AR@100", "AR@500", "AR@1000", "AR@100-M"), ("AP", "AP50", "AP75", "AP-M", "AR@1")
    names = recalls if config["detector"]["kind"] == "none" else precisions
    result = {
        "config": config,
        "seed": config["train"]["seed"],
        "data": data,
        "accuracy": dict.fromkeys(names, value) | {"AR@100-S": None, "AP-S": None},
        "images": 4,
        "objects": 9,
        "max_boxes": 300,
        "cost": {"height": height, "width": width, "parameters": 2500000, "gflops": 1.5, "milliseconds": 20.25}
        | {"timed": "by nobody"},
        "training": {"steps": 1, "images_per_second": 2.0, "seconds": 90.0},
        "date": "2026-01-02",
        "machine": {"cores": 2, "architecture": "x86_64", "vector_units": "AVX2"},
        "versions": {"tensorflow": "2.20.0", "keras": "3.15.0"},
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    with open(os.environ["STAND_IN_CALLS"], "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\n")
    if command == "train":
        assert words[0] == "--config"
        assert words[2] == "--run-dir"
        assert words[4] == "--resume"
        train(words[1], Path(words[3]), words[5:])
    else:
        assert words[1] == "--data"
        assert words[3] == "--size"
        measure(Path(words[0]), words[2], int(words[4]), int(words[5]))
