import pytest

from zip_keras.errors import UserError
from zip_keras.plots.training_curve import curves_of_run, plot_runs

LINES = """\
{"step": 20, "loss": 3.0}
{"step": 40, "loss": 2.0}
{"step": 40, "AR@100": 0.25}
{"step": 40, "loss": 2.5}
"""


def test_a_step_that_was_repeated_counts_as_it_was_last(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(LINES + '{"step": 60, "lo')  # cut off by a kill
    assert curves_of_run(tmp_path) == ([(20, 3.0), (40, 2.5)], [(40, 0.25)])


def test_the_picture_is_written_also_for_a_run_without_validation(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "metrics.jsonl").write_text(LINES.splitlines()[0])
    plot_runs([str(tmp_path)], str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("content", [None, "no json", '{"loss": 1.0}'])
def test_what_is_no_run_is_named(tmp_path, content):
    if content:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.jsonl: not the metrics of a run"):
        curves_of_run(tmp_path)
