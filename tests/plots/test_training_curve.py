import pytest

from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.plots.training_curve import curves
from zip_keras.training.metrics_file import read_metrics

LINES = """\
{"step": 20, "loss": 3.0}
{"step": 40, "loss": 2.0}
{"step": 40, "AR@100": 0.25}
{"step": 40, "loss": 2.5}
"""


def test_a_step_that_was_repeated_counts_as_it_was_last(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(LINES + '{"step": 60, "lo')  # cut off by a kill
    assert curves(read_metrics(tmp_path)) == ([(20, 3.0), (40, 2.5)], [(40, 0.25)])


def test_a_picture_of_a_run_without_validation(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for run in ("a/run", "b/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "metrics.jsonl").write_text(LINES.splitlines()[0])
    picture = tmp_path / "curve.png"
    assert main(["plot_runs", str(tmp_path / "a/run"), str(tmp_path / "b/run"), "--output", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert main(["plot_runs", str(tmp_path), "--output", str(picture)]) == 2
    assert "metrics.jsonl: not the metrics of a run" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "no json", '{"loss": 1.0}', "[1, 2]"])
def test_what_is_no_run_is_named(tmp_path, content):
    if content:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.jsonl: not the metrics of a run"):
        read_metrics(tmp_path)
