"""Export a proposer or detector as a numbered version. See exported/README.md and docs/serving.md."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from zip_keras.errors import UserError
from zip_keras.export.formats import FormatOptions, check_formats, write_formats
from zip_keras.export.readme import write_readme
from zip_keras.export.signatures import ServedModel
from zip_keras.export.verification import Comparison
from zip_keras.export.versions import write_version
from zip_keras.export.warmup import write_warmup
from zip_keras.inference.manifest import write_manifest
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer

CARD_FILE = Path("assets.extra") / "card.md"
DEFAULT_FORMATS = ("saved_model", "keras")


def export_model(
    model: Proposer | Detector,
    folder: str | Path,
    version: int | None = None,
    licence: str | None = None,
    formats: Sequence[str] = DEFAULT_FORMATS,
    options: FormatOptions | None = None,
    card: str | None = None,
    report: Callable[[Comparison], object] = lambda comparison: None,
) -> Path:
    """Write and verify `folder`/VERSION atomically.

    Every format is run on images of several sizes, in batches of one and two, and compared with the model.

    Args:
        model: the model to export.
        folder: `exported/NAME`; created if missing.
        version: an unused positive integer; None: one more than the highest version.
        licence: licence of the weights, for the export's README.
        formats: names in `zip_keras.export.formats.FORMATS`.
        options: options of individual formats.
        card: the model card as Markdown, if there is one.
        report: called with the comparison of each format.

    Returns:
        The new folder. It contains `README.md`, `assets.extra/manifest.json` (see `zip_keras.inference.manifest`),
        `assets.extra/card.md` if there is a card, and the files of the formats: `saved_model.pb`, `variables/` and
        `assets.extra/tf_serving_warmup_requests`; the Keras file `assets.extra/proposer.keras` or `detector.keras`, and
        for detectors `assets.extra/class_names.json`, a list in the order of the class numbers; `onnx/`, `openvino/`,
        `litert/`.

    Raises:
        UserError: a format differs from the model by more than its bound, does not support the model or lacks its
            packages; the version exists or is below 1; the folder cannot be written or is in use by another export; or
            the backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("a SavedModel is made by the TensorFlow backend of Keras: set KERAS_BACKEND=tensorflow")
    folder, formats = Path(folder), tuple(dict.fromkeys(formats))
    check_formats(formats, model)
    served = ServedModel(model)

    def write(unfinished: Path) -> None:
        comparisons = []
        for comparison in write_formats(model, served, unfinished, formats, options or FormatOptions()):
            comparisons.append(comparison)
            report(comparison)
        (unfinished / CARD_FILE).parent.mkdir(exist_ok=True)
        if "saved_model" in formats:
            write_warmup(unfinished)
        if card is not None:
            (unfinished / CARD_FILE).write_text(card, encoding="utf-8")
        write_readme(unfinished, folder.name, model, served if "saved_model" in formats else None, comparisons, licence)
        write_manifest(unfinished, model.get_config())

    return write_version(folder, version, write)
