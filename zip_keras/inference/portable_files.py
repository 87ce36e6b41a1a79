"""Model files of other runtimes and their descriptions, such as `model.onnx` and `model.json`. Without TensorFlow."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from zip_keras.errors import UserError
from zip_keras.utils.digests import check_sha256, sha256
from zip_keras.utils.reading import Budget, read_json

SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".tflite": "litert"}  # suffix -> extra in setup.cfg
_BUDGET = Budget(bytes=16 << 20, nodes=1_000_000, depth=100)


@dataclass(frozen=True)
class Description:
    """Metadata stored beside a model file.

    Attributes:
        kind: "proposer" or "detector".
        precision: precision of weights and arithmetic: "float32", "float16 weights", "bfloat16", "int8".
        output_size: maximum number of boxes per image.
        class_names: class names of a detector; empty for a proposer.
        size: height and width of the images if they are fixed, else None.
        config: `get_config()` of the `Proposer` or `Detector`.
        sha256: SHA-256 of the model's files, by name.
    """

    kind: Literal["proposer", "detector"]
    precision: str
    output_size: int
    class_names: tuple[str, ...]
    size: tuple[int, int] | None
    config: dict[str, Any]
    sha256: dict[str, str]


def is_portable(path: Path) -> bool:
    """Whether a path is a model file for another runtime."""
    return path.suffix in SUFFIXES and path.is_file()


def describe_model(file: Path, model, precision: str = "float32", size: tuple[int, int] | None = None) -> None:
    """Write the description of a complete model file.

    Args:
        file: the model file; an `.xml` file has a `.bin` file beside it.
        model: the exported `Proposer` or `Detector`.
        precision, size: see `Description`.
    """
    names = getattr(model, "class_names", None)
    files = [file, *([file.with_suffix(".bin")] if file.suffix == ".xml" else [])]
    content = Description(
        kind="proposer" if names is None else "detector",
        precision=precision,
        output_size=model.compute_output_spec(_Images())["scores"].shape[1],
        class_names=tuple(names or ()),
        size=size,
        config=model.get_config(),
        sha256={part.name: sha256(part) for part in files},
    )
    file.with_suffix(".json").write_text(json.dumps(asdict(content), indent=1) + "\n", encoding="utf-8")


def read_description(file: Path) -> Description:
    """Read the description of a model file and check the file's SHA-256.

    Raises:
        UserError: the description is missing or damaged, or a file differs from it.
    """
    beside = file.with_suffix(".json")
    if not beside.is_file():
        raise UserError(f"{file}: {beside.name} is missing beside it; copy both from the export")
    content = read_json(beside, _BUDGET)
    try:
        found = Description(**content)
        names, size = tuple(map(str, found.class_names)), found.size and (int(found.size[0]), int(found.size[1]))
        found = Description(**{**content, "class_names": names, "size": size})
        if found.kind not in ("proposer", "detector") or not isinstance(found.config, dict) or found.output_size < 1:
            raise ValueError("it describes no model")
        if file.name not in found.sha256 or any("/" in name for name in found.sha256):
            raise ValueError(f"it does not describe {file.name}")
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"{beside}: damaged ({error}); export the model again") from None
    for name, digest in found.sha256.items():
        check_sha256(file.with_name(name), digest, beside)
    return found


class _Images:
    """Placeholder for a batch of one image of which only the shape is used."""

    shape = (1, None, None, 3)
