"""The table file: the experiments to compare, their budget, seeds and test data.

```yaml
base: ../bccd.yaml            # config of every row, relative to this file
overrides:                    # for every row: the budget
  - train.steps=150
seeds: [0, 1, 2]
test: data/bccd:test          # evaluation data
reference: ZIP                # optional: row that the other rows are compared with
input_size: [256, 352]        # optional: height and width for GFLOPs and time; default short and long side
rows:
  - name: ZIP
    overrides: [model.merge=conv]
  - name: ZIP + MAD
    overrides: [model.merge=mad]
```
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zip_keras.config import ExperimentConfig
from zip_keras.config.files import read_config
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_yaml

REQUIRED = ("base", "seeds", "test", "rows")
OPTIONAL = ("overrides", "reference", "input_size")


@dataclass(frozen=True)
class Row:
    """One experiment of a table.

    Attributes:
        name: name in the table.
        overrides: `section.key=value`; they take precedence over the overrides of the table.
    """

    name: str
    overrides: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The folder name of the row: `zip-mad` for `ZIP + MAD`."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class AblationTable:
    """A checked table file; see the module docstring.

    Attributes:
        file: path of the table file.
        base: config file of every row.
        overrides: overrides of every row.
        rows, seeds, test, reference: as in the file; `reference` is the name of a row, or None.
        input_size: height and width in pixels, or None.
    """

    file: Path
    base: Path
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    test: str
    rows: tuple[Row, ...]
    reference: str | None = None
    input_size: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return self.file.stem

    def config_overrides(self, row: Row, seed: int) -> tuple[str, ...]:
        """The overrides of a run in order; later ones take precedence."""
        return (*self.overrides, *row.overrides, f"train.seed={seed}")

    def config(self, row: Row, seed: int) -> ExperimentConfig:
        """The config of a run.

        Raises:
            UserError: the base config or an override is wrong, or `data.val` is the test data of the table.
        """
        try:
            config = read_config(self.base, self.config_overrides(row, seed))
        except UserError as error:
            raise UserError(f"{self.file}: row {row.name!r}: {error}") from None
        if config.data.val == self.test:
            raise UserError(
                f"{self.file}: row {row.name!r}: data.val is {self.test}, which the table measures: each run would be "
                "judged on the images on which its best checkpoint was chosen; override data.val= (none)"
            )
        return config

    def cost_size(self) -> tuple[int, int]:
        """Height and width in pixels at which GFLOPs and time of every row are measured."""
        if self.input_size:
            return self.input_size
        data = read_config(self.base, self.overrides).data
        return data.short_side, data.long_side

    def select(self, names: Sequence[str] | None, seeds: Sequence[int] | None) -> "AblationTable":
        """The table with some of its rows, in table order, and other seeds; None keeps all.

        Raises:
            UserError: no row has that name, or a seed is duplicate or negative.
        """
        for name in names or ():
            if name not in self.names:
                raise UserError(f"{self.file}: no row {name!r}{_did_you_mean(name, self.names)}")
        rows = tuple(row for row in self.rows if names is None or row.name in names)
        checked = self.seeds if seeds is None else _seeds("--seeds", list(seeds))
        return dataclasses.replace(self, rows=rows, seeds=checked)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows)


def read_table(file: str | Path) -> AblationTable:
    """Read a table file; the configs of the rows are not checked.

    Raises:
        UserError: the file is missing or broken, or has an unknown key (the nearest name is suggested), no rows, or two
            rows whose names give the same folder.
    """
    path = Path(file)
    content = _content(path)
    _check_keys(str(path), content, REQUIRED, OPTIONAL)
    rows = _rows(str(path), content["rows"])
    reference = content.get("reference")
    names = [row.name for row in rows]
    if reference is not None and reference not in names:
        raise UserError(f"{path}: reference {reference!r} is no row{_did_you_mean(str(reference), names)}")
    for key in ("base", "test"):
        if not isinstance(content[key], str) or not content[key]:
            raise UserError(f"{path}: {key} must be a text, not {content[key]!r}")
    base = Path(os.path.normpath(path.parent / content["base"]))
    if not base.is_file():
        raise UserError(f"{path}: base {content['base']!r}: no file {base}; the path is relative to the table file")
    return AblationTable(
        path,
        base,
        _overrides(str(path), content.get("overrides")),
        _seeds(f"{path}: seeds", content["seeds"]),
        content["test"],
        rows,
        reference,
        _input_size(str(path), content.get("input_size")),
    )


def of_detectors(table: AblationTable) -> bool:
    """Whether the rows are detectors, which are evaluated by AP, or proposers, which are evaluated by recall.

    Raises:
        UserError: some rows are detectors and some are not, or the config of a row is wrong.
    """
    kinds = {row.name: table.config(row, table.seeds[0]).detector.kind for row in table.rows}
    found = {kind != "none" for kind in kinds.values()}
    if len(found) > 1:
        raise UserError(f"{table.file}: some rows are detectors and some are not ({kinds}); make two tables")
    return found.pop()


def refuse_equal_configs(table: AblationTable) -> None:
    """Check that no two rows are the same experiment, whose difference would be only noise.

    Raises:
        UserError: two rows have the same config, or the config of a row is wrong.
    """
    seen: dict[ExperimentConfig, str] = {}
    for row in table.rows:
        other = seen.setdefault(table.config(row, 0), row.name)
        if other != row.name:
            raise UserError(f"{table.file}: rows {other!r} and {row.name!r} are the same experiment; drop one")


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such table file; configs/experiments/ has examples")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold {', '.join(REQUIRED)}; configs/experiments/ has examples")
    return content


def _rows(where: str, value: Any) -> tuple[Row, ...]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: rows must be a list of at least one row with `name` and `overrides`")
    rows: dict[str, Row] = {}
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise UserError(f"{where}: row {number} must have `name` and `overrides`, but is {item!r}")
        _check_keys(f"{where}: row {number}", item, ("name",), ("overrides",))
        row = Row(str(item["name"]), _overrides(f"{where}: row {number}", item.get("overrides")))
        if not row.slug:
            raise UserError(f"{where}: row {number}: the name {row.name!r} needs a letter or digit")
        other = rows.setdefault(row.slug, row)
        if other is not row:
            raise UserError(
                f"{where}: rows {other.name!r} and {row.name!r} would share the folder {row.slug}; rename one"
            )
    return tuple(rows.values())


def _overrides(where: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UserError(f"{where}: overrides must be a list of section.key=value, not {value!r}")
    for override in value:
        if not isinstance(override, str) or not re.match(r"[a-z_]+(\.[a-z_]+)+=", override):
            raise UserError(f"{where}: override {override!r} is not of the form section.key=value")
        if override.startswith("train.seed="):
            raise UserError(f"{where}: override {override!r}: the table's seeds say which seeds are run")
    return tuple(value)


def _seeds(where: str, value: Any) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else []
    if not numbers or not all(type(seed) is int and seed >= 0 for seed in numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f"{where}: must be different whole numbers from 0 on, such as [0, 1, 2], not {value!r}")
    return tuple(numbers)


def _input_size(where: str, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(side) is int and side > 0 for side in value):
        raise UserError(f"{where}: input_size must be [height, width] in pixels, not {value!r}")
    return value[0], value[1]


def _check_keys(where: str, content: dict[Any, Any], required: Sequence[str], optional: Sequence[str]) -> None:
    known = (*required, *optional)
    for key in content:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{_did_you_mean(str(key), known)}")
    for key in required:
        if key not in content:
            raise UserError(f"{where}: {key} is missing")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(known)}"
