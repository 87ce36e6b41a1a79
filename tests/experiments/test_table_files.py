"""The table files of configs/experiments."""

from pathlib import Path

import pytest

from zip_keras.experiments.table import read_table, refuse_equal_configs

FOLDER = Path(__file__).parents[2] / "configs" / "experiments"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("strategies_*.yaml")))
def test_rows_differ_in_strategies_and_merge_alone(name):
    table = read_table(FOLDER / f"{name}.yaml")
    refuse_equal_configs(table)
    mine = ("data.resize=", "model.num_classes=", "model.merge=", "targets.equilibrium=")
    assert all(override.startswith(mine) for row in table.rows for override in row.overrides)
    assert all(key in " ".join(table.overrides) for key in mine)  # the reference states each of them


def test_both_strategy_tables_have_the_same_rows():
    tables = [read_table(FOLDER / f"strategies_{data}.yaml") for data in ("bccd", "voc07")]
    assert tables[0].rows == tables[1].rows
