"""Weight files: arrays by variable path, loaded where name and shape agree, with a report of the others.

A `.npz` file holds one array for each variable, named by its path in the network, for example
"backbone_3a/three/convolution/kernel". It is read without executing code, works on every Keras backend, and may be
float16. A `.keras` file works too.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zip_keras.errors import UserError
from zip_keras.utils.archives import Npz, open_zip

SHOWN = 5  # lines per kind in a report


@dataclass(frozen=True)
class LoadReport:
    """Result of loading weights, as variable paths.

    Attributes:
        loaded: loaded from the file.
        kept: in the network, but not loaded ("path: reason").
        unused: in the file, but not in the network.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} variables loaded, {len(self.kept)} kept as they were, {len(self.unused)} unused"]
        for what, paths in (("kept", self.kept), ("unused", self.unused)):
            lines += [f"  {what}: {line}" for line in paths[:SHOWN]]
            if len(paths) > SHOWN:
                lines.append(f"  {what}: {len(paths) - SHOWN} more")
        return "\n".join(lines)


def variables_by_path(network: keras.Model) -> dict[str, keras.Variable]:
    """A network's variables by path: layer, sub-layer, variable. States of random generators are not included."""
    return {variable.path: variable for variable in network.weights}


def save_weights(
    network: keras.Model, file: str | Path, dtype: str = "float32", more: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write all variables of `network`, and the arrays of `more`, as `.npz`."""
    arrays = {path: keras.ops.convert_to_numpy(variable) for path, variable in variables_by_path(network).items()}
    np.savez_compressed(file, **{name: array.astype(dtype) for name, array in {**arrays, **(more or {})}.items()})


def load_weights(network: keras.Model, file: str | Path) -> LoadReport:
    """Load the variables whose path and shape agree.

    Args:
        network: the network to fill.
        file: `.npz` of `save_weights` or `convert_weights`, or `.keras` of a run or an export.

    Raises:
        UserError: the file is missing, broken, holds NaN, or nothing in it fits the network.
    """
    arrays = read_arrays(Path(file))
    loaded, kept = [], []
    for path, variable in variables_by_path(network).items():
        if path not in arrays:
            kept.append(f"{path}: not in the file")
        elif tuple(arrays[path].shape) != tuple(variable.shape):
            kept.append(f"{path}: shape {tuple(arrays[path].shape)} against {tuple(variable.shape)}")
        elif not np.issubdtype(arrays[path].dtype, np.number):
            raise UserError(f"{file}: variable {path} holds {arrays[path].dtype} instead of numbers; use another file")
        elif not np.isfinite(arrays[path]).all():
            raise UserError(f"{file}: variable {path} holds NaN or infinite numbers; use another file")
        else:
            variable.assign(arrays[path].astype("float32"))
            loaded.append(path)
    if not loaded:
        raise UserError(
            f"{file}: no variable of it fits the network (the backbone or width differs?): {'; '.join(kept[:3])}"
        )
    return LoadReport(tuple(loaded), tuple(kept), tuple(sorted(set(arrays) - set(variables_by_path(network)))))


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a weights file by variable path; `UserError` if it is missing or broken."""
    if not file.is_file():
        raise UserError(f"{file}: no such weights file")
    try:
        if file.suffix == ".keras":
            model = keras.models.load_model(file, compile=False)
            network = getattr(model, "network", model)
            return {path: keras.ops.convert_to_numpy(v) for path, v in variables_by_path(network).items()}
        with open_zip(file, "a weights file") as archive:
            npz = Npz(archive)
            return {name: npz.read(name) for name in npz.headers}
    except UserError as error:
        raise UserError(f"{error}; expected .npz of convert_weights or .keras") from None
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file}: not a weights file ({reason}); expected .npz of convert_weights or .keras") from None
