"""A proposer or a detector as a version of an exported model. exported/README.md, docs/serving.md."""

import json
from pathlib import Path

import keras
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.export.readme import write_readme
from zip_keras.export.signatures import ServedModel
from zip_keras.export.versions import write_version
from zip_keras.export.warmup import write_warmup
from zip_keras.inference.manifest import write_manifest
from zip_keras.inference.model_files import DETECTOR_FILE, KERAS_FILE
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer

CLASS_NAMES_FILE = Path("assets.extra") / "class_names.json"
CARD_FILE = Path("assets.extra") / "card.md"


def export_model(
    model: Proposer | Detector,
    folder: str | Path,
    version: int | None = None,
    licence: str | None = None,
    card: str | None = None,
) -> Path:
    """Writes `folder`/VERSION, which appears complete or not at all.

    Args:
        model: what to export.
        folder: `exported/NAME`; made if missing.
        version: a free positive integer; None: one more than the highest there.
        licence: of the weights, for the export's README.
        card: the model's card, Markdown, if it has one.

    Returns:
        the new folder: `saved_model.pb` and `variables/`, `README.md`, the Keras file `assets.extra/proposer.keras` or
        `detector.keras`, of detectors `assets.extra/class_names.json`, a list in the order of the class numbers,
        `assets.extra/tf_serving_warmup_requests`, `assets.extra/card.md` where there is a card, and
        `assets.extra/manifest.json`, see `zip_keras.inference.manifest`.

    Raises:
        UserError: the version is taken or below 1, the folder cannot be written or is in use by another export, or the
            backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("a SavedModel is made by the TensorFlow backend of Keras: set KERAS_BACKEND=tensorflow")
    folder = Path(folder)
    served = ServedModel(model)

    def write(unfinished: Path) -> None:
        tf.saved_model.save(served, str(unfinished), signatures=served.signatures())
        (unfinished / KERAS_FILE).parent.mkdir(exist_ok=True)
        if isinstance(model, Detector):
            model.save(unfinished / DETECTOR_FILE)
            names = json.dumps(list(model.class_names)) + "\n"
            (unfinished / CLASS_NAMES_FILE).write_text(names, encoding="utf-8")
        else:
            model.save(unfinished / KERAS_FILE)
        write_warmup(unfinished)
        if card is not None:
            (unfinished / CARD_FILE).write_text(card, encoding="utf-8")
        write_readme(unfinished, folder.name, model, served, licence)
        write_manifest(unfinished, model.get_config())

    return write_version(folder, version, write)
