"""Find model files by name and read their metadata. Without TensorFlow."""

from pathlib import Path
from typing import Any

from zip_keras.errors import UserError
from zip_keras.inference.portable_files import is_portable, read_description
from zip_keras.presets import FOLDER as PRESETS
from zip_keras.presets import PRESET_FILE, list_presets, read_preset
from zip_keras.utils.archives import open_zip
from zip_keras.utils.reading import Budget, parse_json

SAVED_MODEL_FILE = "saved_model.pb"
KERAS_FILE = Path("assets.extra") / "proposer.keras"  # in a SavedModel folder; TensorFlow Serving ignores it
DETECTOR_FILE = Path("assets.extra") / "detector.keras"  # the same for a detector
RUN_FILES = ("best.keras", "last.keras")
_CONFIG = "config.json"  # in a `.keras` file
_CONFIG_BUDGET = Budget(bytes=16 << 20, nodes=1_000_000, depth=100)


def find_model(model: str | Path) -> Path:
    """Find the model file, SavedModel folder or preset folder of a model.

    Args:
        model: a run folder (its `best.keras`, else its `last.keras`), a `.keras` file, a SavedModel folder, a folder of
            numbered SavedModels (the highest number is used), an export's `.onnx`, `.xml` (OpenVINO) or `.tflite` file,
            or the name of a preset.

    Raises:
        UserError: the model does not exist.
    """
    path = Path(model)
    if (path.is_file() and path.suffix == ".keras") or is_portable(path):
        return path
    if path.is_dir():
        versions = [folder for folder in [path, *_versions(path)] if (folder / SAVED_MODEL_FILE).is_file()]
        files = [path / name for name in RUN_FILES if (path / name).is_file()]
        if (path / PRESET_FILE).is_file():
            return path
        for found in (*versions, *files):
            return found
        if (path / "config.yaml").is_file():
            raise UserError(
                f"{path}: the run has saved no model yet; it does at every train.evaluate_every steps and at its end"
            )
    if not path.exists() and str(model) in list_presets():
        return PRESETS / str(model)
    what = "holds no model" if path.is_dir() else "is no model" if path.exists() else "no such model"
    raise UserError(
        f"{path}: {what}; name a run folder (best.keras or last.keras in it), a .keras file, the folder of an exported "
        "SavedModel (exported/NAME or exported/NAME/VERSION), an export's .onnx, .xml or .tflite file, or a preset "
        f"({', '.join(list_presets())})"
    )


def stored_calibration(model: str | Path) -> dict[str, Any] | None:
    """Read a model's calibration from its file without building the model; None if it is not calibrated.

    Raises:
        UserError: the model does not exist, or its file is broken.
    """
    path = find_model(model)
    if (path / PRESET_FILE).is_file():
        return read_preset(path)["model"].get("calibration")
    if is_portable(path):
        return read_description(path).config.get("calibration")
    file = path / KERAS_FILE if path.is_dir() else path
    if not file.is_file():  # not an export of zip-keras: loading reports it
        return None
    calibration = read_keras_config(file)["config"].get("calibration")
    if calibration is not None and not isinstance(calibration, dict):
        raise UserError(f"{file}: cannot be loaded (its calibration is no object); was it written to its end?")
    return calibration


def read_keras_config(file: Path) -> dict[str, Any]:
    """Read `config.json` of a `.keras` file within size limits, before Keras builds anything from it.

    Raises:
        UserError: it is no Keras file, exceeds the limits (decompression bomb), or its json describes no model.
    """
    try:
        with open_zip(file, "a Keras file") as archive:
            content = parse_json(archive.read(_CONFIG), f"{file}: {_CONFIG}", _CONFIG_BUDGET)
    except UserError as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise UserError(f"{file}: cannot be loaded ({reason}); was it written to its end?") from None
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise UserError(f"{file}: cannot be loaded ({_CONFIG} describes no model); was it written to its end?")
    return content


def is_detector(model: str | Path) -> bool:
    """Whether a model is a detector, according to its file and without building it.

    Raises:
        UserError: the model does not exist, or its file is broken.
    """
    path = find_model(model)
    if (path / PRESET_FILE).is_file():
        return read_preset(path)["model_class"] == "Detector"
    if is_portable(path):
        return read_description(path).kind == "detector"
    if path.is_dir():
        return (path / DETECTOR_FILE).is_file()
    return read_keras_config(path).get("class_name") == "Detector"


def _versions(folder: Path) -> list[Path]:
    """Subfolders with integer names, highest first."""
    numbered = [entry for entry in folder.iterdir() if entry.name.isascii() and entry.name.isdigit()]
    return sorted(numbered, key=lambda entry: int(entry.name), reverse=True)


def next_version(folder: Path) -> int:
    """One more than the highest version in a folder of exports; 1 if there is none."""
    taken = _versions(folder) if folder.is_dir() else []
    return int(taken[0].name) + 1 if taken else 1
