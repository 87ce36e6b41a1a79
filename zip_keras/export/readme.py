"""The README of an export: model, signatures, example requests, files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from zip_keras.export.signatures import MEANINGS, SIGNATURES, ServedModel
from zip_keras.export.verification import BOUNDS, Comparison
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.utils.digests import sha256
from zip_keras.utils.environment import versions

README_FILE = "README.md"
_ABOUT = {
    "serving_default": "Pixels of images of one size.",
    "serving_default_with_options": "The same, with limits for each image.",
    "encoded": "Image files. EXIF orientation is not applied; boxes are in pixels of the stored image.",
    "encoded_with_options": "The same, with limits for each image.",
    "tf_example": "`tf.train.Example` records, for batch jobs.",
}
_REQUESTS = """\
With TensorFlow:

```python
import tensorflow as tf

model = tf.saved_model.load("{folder}")
image_bytes = tf.constant([open("photo.jpg", "rb").read()])
result = model.signatures["encoded_with_options"](
    image_bytes=image_bytes, max_boxes=tf.constant([20]), score_threshold=tf.constant([0.1])
)
print(result["boxes"][0].numpy())
```

With TensorFlow Serving, which serves the parent folder under the name `{name}`:

```sh
printf '{{"signature_name": "encoded_with_options", "instances": [{{"image_bytes": {{"b64": "%s"}},
  "max_boxes": 20, "score_threshold": 0.1}}]}}' "$(base64 -w0 photo.jpg)" |
  curl -s -d @- http://localhost:8501/v1/models/{name}:predict
```
"""


def write_readme(
    folder: Path,
    name: str,
    model: Proposer | Detector,
    served: ServedModel | None,
    comparisons: Sequence[Comparison],
    licence: str | None,
) -> None:
    """Write the README of an export.

    Args:
        folder: folder of one version, complete except for the README and the manifest.
        name: name of the export.
        model: the exported model.
        served: the signatures of its SavedModel, if there is one.
        comparisons: comparisons of its formats with the model.
        licence: licence of the weights.
    """
    parts = [
        f"# {name}",
        _description(model),
        *(_saved_model(name, served) if served else ()),
        "## Verified",
        "Every format was compared with the Keras model. A difference is that of a box's coordinates, relative to the "
        "longer side of its image, or of its score.",
        _table(
            ["format", "99 % of boxes differ by at most", "bound", "boxes above the bound", "allowed"],
            _verified(comparisons),
        ),
        "## Files",
        _table(["file", "bytes", "SHA-256"], _files(folder)),
        "Exported with " + ", ".join(f"{package} {version}" for package, version in versions().items()) + ".",
        "## Licence",
        f"Weights: {(licence or 'not stated').strip()}",
        "Code: zip-keras, Apache-2.0.",
    ]
    (folder / README_FILE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _saved_model(name: str, served: ServedModel) -> list[str]:
    return [
        "## Signatures",
        "`B` is the number of images in a request. "
        "With options, `n` is the largest number of boxes of an image in the request.",
        *(_signature(signature, getattr(served, signature)) for signature in SIGNATURES),
        "## Requests",
        _REQUESTS.format(folder=".", name=name).rstrip(),
    ]


def _verified(comparisons: Sequence[Comparison]) -> list[list[str]]:
    rows = []
    for found in comparisons:
        bound = BOUNDS[found.format]
        shares = (f"{found.share:.1%} of {found.boxes}", f"{bound.share:.0%}")
        rows.append([found.format, f"{found.difference:.1e}", f"{bound.difference:.0e}", *shares])
    return rows


def _description(model: Proposer | Detector) -> str:
    network = model.network.config
    scales = ", ".join("original size" if side is None else f"{side}" for side in model.short_sides)
    flip = ", each also flipped" if model.flip else ""
    rows = [
        ["network", f"{type(model.network).__name__} on {network.backbone}, width {network.width:g}"],
        ["parameters", f"{model.count_params():,}"],
        ["short side, pixels", f"{scales}{flip}; long side at most {model.long_side}"],
    ]
    if isinstance(model, Detector):
        what = "Detects objects and their classes."
        rows += [
            ["boxes per image", f"at most {model.postprocess_config.max_detections}"],
            ["classes", ", ".join(f"{number} {name}" for number, name in enumerate(model.class_names))],
        ]
    else:
        what = "Proposes class-agnostic boxes around objects."
        rows += [["boxes per image", f"at most {model.postprocess_config.output_size}"]]
    return f"{what} Written by `zip-keras export`.\n\n{_table(['', ''], rows)}"


def _signature(name: str, function: Any) -> str:
    concrete = function.get_concrete_function()
    inputs = [(spec.name, spec, "B") for spec in function.input_signature]
    outputs = [(output, spec, "B") for output, spec in concrete.structured_outputs.items()]
    tables = [
        _table([kind, "type", "shape", "meaning"], [_row(*entry) for entry in entries])
        for kind, entries in (("input", inputs), ("output", sorted(outputs, key=lambda entry: _place(entry[0]))))
    ]
    return "\n\n".join([f"### `{name}`", _ABOUT[name], *tables])


def _row(name: str, spec: tf.TensorSpec, batch: str) -> list[str]:
    free = iter("HW") if spec.shape.rank == 4 else iter("n")  # names of the unknown axes
    shape = [batch, *(str(side) if side is not None else next(free) for side in spec.shape[1:])]
    return [f"`{name}`", spec.dtype.name, f"[{', '.join(shape)}]", MEANINGS[name]]


def _place(output: str) -> int:
    return list(MEANINGS).index(output)


def _files(folder: Path) -> list[list[str]]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [[f"`{file.relative_to(folder).as_posix()}`", f"{file.stat().st_size:,}", sha256(file)] for file in files]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
