"""Trained models that ship with the package. Each folder here is a preset.

`NAME/preset.json` holds a one-line description, the configuration of the model (a `Proposer` or a `Detector`) and the
SHA-256 of the weights. `NAME/weights.npz` holds the weights by variable path: kernels in float16, everything else in
float32. `NAME/card.md` describes data, recipe, results, licence and failures.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.utils.digests import check_sha256, sha256
from zip_keras.utils.environment import versions
from zip_keras.utils.files import atomic_write
from zip_keras.utils.reading import read_json

if TYPE_CHECKING:
    from zip_keras.models.detector import Detector
    from zip_keras.models.proposer import Proposer

FOLDER = Path(__file__).parent
PRESET_FILE, WEIGHTS_FILE, CARD_FILE = "preset.json", "weights.npz", "card.md"
DEFAULT_PRESET = "zip_lite"


def list_presets() -> dict[str, str]:
    """Names of the presets with their one-line descriptions."""
    folders = sorted(file.parent for file in FOLDER.glob(f"*/{PRESET_FILE}"))
    return {folder.name: read_preset(folder)["description"] for folder in folders}


def from_preset(name: str) -> "Proposer | Detector":
    """Load the trained `Proposer` or `Detector` of a preset.

    `zip_keras.InferenceOptions(...).apply(proposer)` and `detector.with_options(...)` change their options.

    Args:
        name: one of `list_presets()`.

    Raises:
        UserError: the preset does not exist, or its files are damaged.
    """
    if not (FOLDER / name / PRESET_FILE).is_file():
        raise UserError(f"no preset {name!r}; there are {', '.join(list_presets())}")
    return load_preset(FOLDER / name)


def model_card(name: str) -> str:
    """The model card of a preset, in Markdown; `UserError` if the preset does not exist."""
    if name not in list_presets():
        raise UserError(f"no preset {name!r}; there are {', '.join(list_presets())}")
    return (FOLDER / name / CARD_FILE).read_text(encoding="utf-8")


def card_of(model: str | Path) -> str | None:
    """The model card of a preset; None if the model is not a preset."""
    if Path(model).exists() or str(model) not in list_presets():
        return None
    return model_card(str(model))


def licence_of(model: str | Path) -> str | None:
    """The section "Licence" of a preset's card; None if the model is not a preset."""
    section = (card_of(model) or "").partition("## Licence\n")[2].partition("\n## ")[0]
    return " ".join(section.split()) or None


def weights_file(name: str) -> str:
    """The weights file for a value of `train.weights`: a file of that name, or else the weights of that preset.

    Raises:
        UserError: the preset's weights do not match their SHA-256.
    """
    if not Path(name).exists() and name in list_presets():
        check_weights(FOLDER / name, read_preset(FOLDER / name))
        return str(FOLDER / name / WEIGHTS_FILE)
    return name


def class_names(name: str) -> tuple[str, ...]:
    """The class names of a preset in the order of the class numbers; empty for a proposer."""
    return tuple(read_preset(FOLDER / name)["network"].get("class_names", ()))


def load_preset(folder: Path) -> "Proposer | Detector":
    """Load the model in a folder that `save_preset` wrote.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those of the network.
    """
    from zip_keras.models.detector import Detector
    from zip_keras.models.one_stage import OneStageNetwork
    from zip_keras.models.proposal_network import ProposalNetwork
    from zip_keras.models.proposer import Proposer
    from zip_keras.models.two_stage import TwoStageNetwork
    from zip_keras.weights.npz import load_weights

    content = read_preset(folder)
    models = {kind.__name__: kind for kind in (Proposer, Detector)}
    networks = {kind.__name__: kind for kind in (ProposalNetwork, OneStageNetwork, TwoStageNetwork)}
    try:
        network = networks[content["network_class"]](**content["network"])
        model = models[content["model_class"]](network, **content["model"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{folder / PRESET_FILE}: not a preset of this version of zip-keras ({error})") from None
    check_weights(folder, content)
    report = load_weights(network, folder / WEIGHTS_FILE)
    if report.kept or report.unused:
        differing = (*report.kept, *report.unused)
        raise UserError(f"{folder / WEIGHTS_FILE}: not the weights of its network: {'; '.join(differing[:3])}")
    return model


def save_preset(model: "Proposer | Detector", folder: Path, description: str) -> None:
    """Write a model as a preset. Its card is written by hand.

    Args:
        model: model with the default options of the preset.
        folder: created if missing; its files are replaced.
        description: one line.

    Raises:
        UserError: a weight does not fit float16, the model is boosted, or the folder cannot be written.
    """
    import keras

    from zip_keras.weights.npz import variables_by_path

    if getattr(model, "ensemble", None) is not None:
        raise UserError("a preset has no place for an ensemble of trees; save the detector that was boosted")
    arrays = {}
    for path, variable in variables_by_path(model.network).items():
        values = keras.ops.convert_to_numpy(variable).astype(np.float32)
        with np.errstate(over="ignore"):  # overflow raises below
            arrays[path] = values.astype(np.float16) if values.ndim > 1 else values
        if not np.isfinite(arrays[path]).all():
            raise UserError(f"variable {path} does not fit float16; its largest value is {np.abs(values).max():g}")
    content = {
        "description": description,
        "model_class": type(model).__name__,
        "network_class": type(model.network).__name__,
        "network": {name: value for name, value in model.network.get_config().items() if name != "name"},
        "model": {name: value for name, value in model.get_config().items() if name not in ("network", "ensemble")},
        "versions": versions(),
    }
    with atomic_write(folder / WEIGHTS_FILE) as unfinished, open(unfinished, "wb") as stream:
        np.savez_compressed(stream, **arrays)
    content["sha256"] = {WEIGHTS_FILE: sha256(folder / WEIGHTS_FILE)}
    with atomic_write(folder / PRESET_FILE) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check_weights(folder: Path, content: dict[str, Any]) -> None:
    """Raise `UserError` unless a preset's weights match the SHA-256 in `content`, the result of `read_preset`."""
    try:
        digest = content["sha256"][WEIGHTS_FILE]
    except (KeyError, TypeError):
        raise UserError(
            f"{folder / PRESET_FILE}: lacks the SHA-256 of {WEIGHTS_FILE}; write the preset again"
        ) from None
    check_sha256(folder / WEIGHTS_FILE, digest, folder / PRESET_FILE)


def read_preset(folder: Path) -> dict[str, Any]:
    """Read the `preset.json` of a preset.

    Returns:
        `description`; `model_class` and `model`, the arguments of that class; `network_class` and `network` likewise;
        `versions`; `sha256` of its weights.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / PRESET_FILE
    try:
        content = read_json(file)
    except UserError as error:
        raise UserError(f"{file}: damaged ({str(error).removeprefix(f'{file}: ')}); install zip-keras again") from None
    kinds = {"description": str, "model_class": str, "network_class": str, "network": dict, "model": dict}
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in kinds.items()):
        raise UserError(f"{file}: damaged (it must hold {', '.join(kinds)}); install zip-keras again")
    return content
