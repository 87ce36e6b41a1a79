"""Running a table with a stand-in for the training commands: order, resuming, failures, interrupts, the table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zip_keras.errors import UserError
from zip_keras.experiments.report import write_report
from zip_keras.experiments.runs import plan, run_table
from zip_keras.experiments.table import of_detectors, read_table
from zip_keras.utils.locks import FolderLock

ONE_SEED = ("[0, 1]", "[0]")
STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
TABLE = """
base: base.yaml
overrides: [data.short_side=32, data.long_side=64]
seeds: [0, 1]
test: data/nowhere:test
reference: plain
rows:
  - {name: plain, overrides: [model.width=0.25]}
  - {name: wide, overrides: [model.width=0.5]}
"""

SLOW = """[0]
test: data/nowhere:test
rows:
  - {name: slow, overrides: [model.head_channels=15]}"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Writes the table with replacements, runs it with the stand-in, and knows what was called."""
    monkeypatch.setenv("STAND_IN_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("ZIP_KERAS_LAZY", "1")  # as the command line does: no process here needs TensorFlow
    (tmp_path / "base.yaml").write_text("train: {steps: 1}\n")

    class Work:
        output = tmp_path / "out"

        def table(self, *replacements):
            text = TABLE
            for old, new in replacements:
                assert old in text
                text = text.replace(old, new)
            (tmp_path / "table.yaml").write_text(text)
            return read_table(tmp_path / "table.yaml")

        def run(self, *replacements):
            table = self.table(*replacements)
            self.ended = []  # how many results there were after every run
            count = lambda: self.ended.append(len(list(self.output.rglob("result.json"))))  # noqa: E731
            failed = run_table(table, self.output, count, self.said.append, STAND_IN)
            write_report(table, self.output)
            return failed

        def calls(self):
            """`command row/seed-N` of every subprocess since the last call."""
            lines = (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
            (tmp_path / "calls").unlink(missing_ok=True)
            folders = (next(word for word in line.split() if "seed-" in word and "/" in word) for line in lines)
            return [f"{line.split()[0]} {'/'.join(f.split('/')[-2:])}" for line, f in zip(lines, folders, strict=True)]

    work = Work()
    work.said = []
    return work


def test_seeds_are_the_outer_loop_and_nothing_is_done_twice(work):
    assert work.run() == []
    runs = ["plain/seed-0", "wide/seed-0", "plain/seed-1", "wide/seed-1"]
    assert work.calls() == [f"{command} {run}" for run in runs for command in ("train", "measure")]
    assert work.ended == [1, 2, 3, 4]
    assert work.run() == []
    assert work.calls() == []
    assert [run.state for run in plan(work.table(), work.output)] == ["finished"] * 4
    assert work.run(("data/nowhere:test", "data/elsewhere:test"), ("[0, 1]", "[1, 5]")) == []
    measured = ["measure plain/seed-1", "measure wide/seed-1"]  # trained already, but measured on other data
    assert work.calls() == measured + [f"{c} {row}/seed-5" for row in ("plain", "wide") for c in ("train", "measure")]


def test_the_table_holds_means_spreads_costs_and_verdicts(work):
    work.run(("[0, 1]", "[0, 1, 2]"))
    text = (work.output / "table.md").read_text()
    # width .25 and .5; seeds add 0, .01, .02: deviation .01, and every pair differs by .25 exactly
    assert "| plain | 3 | 0.260 ± 0.010 | 0.260 ± 0.010 | 0.260 ± 0.010 | - | 0.260 ± 0.010 | - | 2.50 | 1.50 |" in text
    assert "| wide | 3 | 0.510 ± 0.010 |" in text
    assert "| wide | 3 | +0.2500 | 0.0000 | +0.2500 to +0.2500 | larger than the noise |" in text
    assert "lists of 300 boxes, so recall beyond 300 is recall at 300" in text
    assert "budget of every run: 1 steps of 4 images of ; base.yaml with data.short_side=32" in text
    assert "what a row changes: plain: model.width=0.25; wide: model.width=0.5" in text
    assert "NOT ALIKE" not in text
    assert "machine: 2 cores, x86_64, AVX2; tensorflow 2.20.0, keras 3.15.0" in text
    assert "the network alone at 32 x 64 pixels" in text
    content = json.loads((work.output / "table.json").read_text())
    assert content["rows"][1]["accuracy"]["AR@10"] == {
        "n": 3,
        "mean": pytest.approx(0.51),
        "deviation": pytest.approx(0.01),
    }
    assert content["rows"][1]["seeds"]["2"]["accuracy"]["AR@1000"] == pytest.approx(0.52)
    assert content["differences"]["AR@1000"]["wide"]["verdict"] == "larger than the noise"
    assert (work.output / "table.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_detectors_holds_ap(work):
    work.run(("data.short_side=32", "detector.kind=one_stage, data.short_side=32"))
    text = (work.output / "table.md").read_text()
    assert "| row | seeds | AP50 | AP75 | AP | small | medium | large |" in text
    assert "| plain | 2 | 0.255 ± 0.007 | 0.255 ± 0.007 | 0.255 ± 0.007 | - | 0.255 ± 0.007 | - |" in text
    assert "AP minus that of plain" in text
    assert "recall beyond" not in text
    assert set(json.loads((work.output / "table.json").read_text())["differences"]) == {"AP50", "AP75", "AP"}
    mixed = work.table(("model.width=0.5]", "detector.kind=two_stage]"))
    with pytest.raises(UserError, match=r"some rows are detectors and some are not .*'plain': 'none'"):
        of_detectors(mixed)


@pytest.mark.parametrize(("option", "told"), [("train.clip_norm=0.5", True), ("data.train=other:train", False)])
def test_rows_of_other_budgets_or_data_are_told(work, option, told):
    """Other images are told where the configs name the same ones."""
    changed = ("model.width=0.5]", f"model.width=0.5, train.steps=3, train.batch_size=2, {option}]")
    work.run(ONE_SEED, changed)
    for row, digest in (("plain", "a"), ("wide", "b")):
        file = work.output / row / "seed-0" / "result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "digests": {"training": digest, "test": "same"}}))
    text = write_report(work.table(ONE_SEED, changed), work.output)
    assert "budget of a run (wide: 3 steps of 2 images of " in text
    assert ("NOT ALIKE: the training images of these runs differ" in text) == told
    assert "the test images of these runs differ" not in text


def test_failures_are_listed_and_tried_again(work):
    broken = ("rows:", "rows:\n  - {name: odd, overrides: [model.head_channels=13]}")
    killed = ("rows:", "rows:\n  - {name: hungry, overrides: [model.head_channels=14]}")
    failed = work.run(ONE_SEED, broken, killed)
    assert [(run.row.name, run.seed) for run in failed] == [("hungry", 0), ("odd", 0)]
    assert "measure odd/seed-0" not in (calls := work.calls())
    assert "measure wide/seed-0" in calls
    text = (work.output / "table.md").read_text()
    assert "- odd, seed 0: thirteen channels\n" in text
    assert "- hungry, seed 0: ended by SIGKILL (out of memory?)" in text
    assert "| odd | 0 | - |" in text
    assert "$ zip-keras train --config" in (log := (work.output / "odd" / "seed-0" / "log.txt").read_text())
    assert "said after the error" in log
    work.run(ONE_SEED, broken, killed)
    assert work.calls() == ["train hungry/seed-0", "train odd/seed-0"]


def test_a_result_without_a_newer_config_field_counts(work):
    work.run(ONE_SEED)
    for file in work.output.rglob("result.json"):
        result = json.loads(file.read_text())
        del result["config"]["model"]["upsampling"]
        file.write_text(json.dumps(result))
    assert {run.state for run in plan(work.table(ONE_SEED), work.output)} == {"finished"}


def test_a_run_of_another_config_is_refused(work):
    work.run(ONE_SEED)
    work.calls()
    with pytest.raises(UserError, match=r"out/wide/seed-0: .*row 'wide' \(model.width: 0.5 -> 0.75, run -> table\)"):
        work.run(ONE_SEED, ("0.5", "0.75"))
    with pytest.raises(UserError, match=r"train.steps: 1 -> 2"):
        write_report(work.table(("[data", "[train.steps=2, data")), work.output)
    assert work.calls() == []


def test_two_at_once_in_one_folder_are_refused(work):
    with FolderLock(work.output), pytest.raises(UserError, match=f"out: in use by process {os.getpid()} on "):
        work.run(ONE_SEED)
    assert work.run(ONE_SEED) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupt_reaches_the_subprocess(work, number, tmp_path):
    slow = ("[0, 1]\ntest: data/nowhere:test\nreference: plain\nrows:", SLOW)
    work.table(slow)
    program = (
        "import sys; from zip_keras.experiments.runs import run_table\n"
        "from zip_keras.experiments.table import of_detectors, read_table\n"
        f"run_table(read_table({str(tmp_path / 'table.yaml')!r}), {str(work.output)!r}, print, print, {STAND_IN!r})"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True)
    log = work.output / "slow" / "seed-0" / "log.txt"
    while not (log.exists() and "waits" in log.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate()
    assert "KeyboardInterrupt" in errors
    assert (work.output / "slow" / "seed-0" / "interrupted").exists()  # the child had its time to save
    assert [run.state for run in plan(work.table(slow), work.output)] == ["to go on", *["to start"] * 2]
    assert not (work.output / "plain").exists()
    work.calls()
    assert work.run(slow) == []
    assert work.calls()[0] == "train slow/seed-0"
