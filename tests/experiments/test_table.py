"""Table files: what they mean and what is refused."""

from pathlib import Path

import pytest

from zip_keras.errors import UserError
from zip_keras.experiments.table import read_table, refuse_equal_configs

TABLE = """
base: ../base.yaml
overrides:
  - train.steps=7
  - model.num_classes=2
seeds: [0, 3]
test: data/somewhere:test
reference: ZIP
rows:
  - name: ZIP
  - name: ZIP + gray
    overrides: [model.num_classes=3]
"""


@pytest.fixture
def written(tmp_path):
    """Writes the table with a replacement and reads it."""
    (tmp_path / "base.yaml").write_text("train: {steps: 100, batch_size: 2}\n")
    (tmp_path / "tables").mkdir()

    def write(old="", new=""):
        file = tmp_path / "tables" / "strategies.yaml"
        file.write_text(TABLE.replace(old, new, 1))
        return read_table(file)

    return write


def test_a_rows_config_is_base_then_budget_then_row_then_seed(written):
    table = written()
    gray = table.rows[1]
    config = table.config(gray, 3)
    assert (config.train.batch_size, config.train.steps, config.model.num_classes, config.train.seed) == (2, 7, 3, 3)
    assert table.config(table.rows[0], 0).model.num_classes == 2
    assert (table.name, gray.slug, table.seeds, table.test) == ("strategies", "zip-gray", (0, 3), "data/somewhere:test")
    assert table.cost_size() == (600, 1000)  # the config's short and long side
    assert written("seeds:", "input_size: [64, 96]\nseeds:").cost_size() == (64, 96)


def test_the_best_checkpoint_is_not_chosen_on_what_is_measured(written):
    table = written("train.steps=7", "data.val=data/somewhere:test")
    with pytest.raises(UserError, match=r"row 'ZIP': data\.val is data/somewhere:test, which the table measures"):
        table.config(table.rows[0], 0)


def test_rows_and_seeds_can_be_chosen(written):
    chosen = written().select(["ZIP + gray"], [5])
    assert (chosen.names, chosen.seeds) == (("ZIP + gray",), (5,))
    with pytest.raises(UserError, match=r"no row 'ZIP gray'; did you mean 'ZIP \+ gray'"):
        written().select(["ZIP gray"], None)
    with pytest.raises(UserError, match="--seeds: must be different whole numbers"):
        written().select(None, [1, 1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds:", "seed:", "unknown key 'seed'; did you mean 'seeds'"),
        ("test: data/somewhere:test", "", "test is missing"),
        ("    overrides:", "    override:", "row 2: unknown key 'override'; did you mean 'overrides'"),
        ("ZIP + gray", "zip", "rows 'ZIP' and 'zip' would share the folder zip"),
        ("ZIP + gray", "+", "the name '\\+' needs a letter or digit"),
        ("reference: ZIP", "reference: ZIP + grey", r"is no row; did you mean 'ZIP \+ gray'"),
        ("[0, 3]", "[0, 0]", "different whole numbers"),
        ("[0, 3]", "[]", "different whole numbers"),
        ("../base.yaml", "base.yaml", "the path is relative to the table file"),
        ("model.num_classes=3", "'model.num_classes: 3'", "is not of the form section.key=value"),
        ("model.num_classes=3", "train.seed=4", "the table's seeds say"),
        ("seeds:", "input_size: 64\nseeds:", r"input_size must be \[height, width\]"),
        (TABLE[TABLE.index("rows:") :], "rows: []", "at least one row"),
        (TABLE, "- 1", "must hold base, seeds"),
        (TABLE, "{", "not valid YAML"),
    ],
)
def test_what_cannot_be_is_named(written, old, new, message):
    with pytest.raises(UserError, match=message):
        written(old, new)


def test_a_rows_config_that_cannot_be_names_the_row(written):
    table = written("model.num_classes=3", "model.clases=3")
    with pytest.raises(UserError, match=r"row 'ZIP \+ gray': .*did you mean 'model.num_classes'"):
        table.config(table.rows[1], 0)


def test_two_rows_that_are_one_experiment_are_refused(written):
    with pytest.raises(UserError, match=r"rows 'ZIP' and 'ZIP \+ gray' are the same experiment"):
        refuse_equal_configs(written("model.num_classes=3", "model.num_classes=2"))


def test_a_missing_table_points_to_the_examples():
    with pytest.raises(UserError, match=r"nowhere.yaml: no such table file; configs/experiments/"):
        read_table(Path("nowhere.yaml"))
