"""Runs a table: every row with every seed, each an ordinary run folder made by ordinary commands.

OUTPUT/ROW/seed-N    run folder of `zip-keras train`, with result.json and boxes of `zip-keras measure`,
                     log.txt (what the commands printed) and failed.json (why the last try failed)
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zip_keras.config import ExperimentConfig, from_dict
from zip_keras.config.files import config_differences, read_config
from zip_keras.errors import UserError
from zip_keras.experiments.measure import RESULT_FILE, read_result
from zip_keras.experiments.subprocesses import PROGRAM, Subprocesses
from zip_keras.experiments.table import AblationTable, Row
from zip_keras.utils.files import atomic_write
from zip_keras.utils.locks import FolderLock

State = Literal["finished", "to measure", "to go on", "to start"]
FAILED_FILE = "failed.json"
LOG_FILE = "log.txt"


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        row, seed: which.
        folder: its run folder.
        config: what the table says it must be.
        state: "finished", trained but "to measure" (anew, when the table's test data or size changed), interrupted and
            "to go on", or "to start".
        error: why its last try failed, if it did.
        result: what `measure_run` wrote, when finished.
    """

    row: Row
    seed: int
    folder: Path
    config: ExperimentConfig
    state: State
    error: str | None = None
    result: dict[str, Any] | None = None


def find_run(table: AblationTable, output: str | Path, row: Row, seed: int) -> Run:
    """What is there of a run.

    Raises:
        UserError: its folder holds a run with another config than the table says, or a broken result.
    """
    folder = Path(output) / row.slug / f"seed-{seed}"
    config = table.config(row, seed)
    saved = folder / "config.yaml"
    if not saved.exists():
        return Run(row, seed, folder, config, "to start", _error(folder))
    if changed := config_differences(read_config(saved), config):
        raise UserError(
            f"{folder}: holds a run with another config than {table.file} gives row {row.name!r} "
            f"({'; '.join(changed)}, run -> table); undo the change, delete the folder or name another --output"
        )
    result = read_result(folder)
    if result is None or from_dict(ExperimentConfig, result["config"]) != config:  # older files lack newer fields
        return Run(row, seed, folder, config, "to go on", _error(folder))
    size = (result["cost"]["height"], result["cost"]["width"])
    if (result["data"], size) != (table.test, table.cost_size()):
        return Run(row, seed, folder, config, "to measure", _error(folder))
    return Run(row, seed, folder, config, "finished", None, result)


def plan(table: AblationTable, output: str | Path) -> list[Run]:
    """All runs of a table; seeds are the outer loop, so that every row has one result before any has two.

    Raises:
        UserError: as `find_run`.
    """
    return [find_run(table, output, row, seed) for seed in table.seeds for row in table.rows]


def found_runs(table: AblationTable, output: str | Path) -> dict[str, list[Run]]:
    """By row of the table, the runs that have a folder, whatever their seed.

    Raises:
        UserError: as `find_run`.
    """
    return {
        row.name: [find_run(table, output, row, seed) for seed in _seeds_in(Path(output) / row.slug)]
        for row in table.rows
    }


def commands(table: AblationTable, run: Run) -> list[list[str]]:
    """The words after `zip-keras` that a run still needs."""
    height, width = table.cost_size()
    measure = ["measure", str(run.folder), "--data", table.test, "--size", str(height), str(width)]
    train = ["train", "--config", str(table.base), "--run-dir", str(run.folder), "--resume"]
    train += table.config_overrides(run.row, run.seed)
    return {"finished": [], "to measure": [measure]}.get(run.state, [train, measure])


def run_table(
    table: AblationTable,
    output: str | Path,
    after_run: Callable[[], object],
    say: Callable[[str], None],
    program: Sequence[str] = PROGRAM,
) -> list[Run]:
    """Does what is still to do of a table; a run that fails is noted in its folder and the others go on.

    Args:
        table: rows and seeds to run.
        output: folder of the run folders.
        after_run: called after every run, finished or failed.
        say: takes a line for the user.
        program: what stands before a command's words; tests put a stand-in here.

    Returns:
        The runs that failed.

    Raises:
        UserError: a folder holds another run (before anything is started), or another process is at work in `output`.
        KeyboardInterrupt: interrupted; the child has saved what it had.
    """
    failed = []
    # A child keeps the lock open while it lives, also when this process is killed.
    with FolderLock(output) as lock, Subprocesses(program, keep_open=[lock]) as children:
        runs = plan(table, output)
        for number, run in enumerate(runs, 1):
            say(f"[{number}/{len(runs)}] {run.row.name}, seed {run.seed}: {run.state}")
            words = commands(table, run)
            if not words:
                continue
            if run.state != "to measure":
                (run.folder / RESULT_FILE).unlink(missing_ok=True)
            errors = (children.run(command, run.folder / LOG_FILE) for command in words)
            error = next((line for line in errors if line is not None), None)  # the first stops the rest
            _note(run.folder, error)
            if error is not None:
                say(f"failed: {run.row.name}, seed {run.seed}: {error}")
                failed.append(run)
            after_run()
    return failed


def _note(folder: Path, error: str | None) -> None:
    file = folder / FAILED_FILE
    if error is None:
        file.unlink(missing_ok=True)
        return
    with atomic_write(str(file)) as unfinished:
        unfinished.write_text(json.dumps({"error": error, "time": time.strftime("%Y-%m-%d %H:%M:%S")}) + "\n")


def _error(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / FAILED_FILE).read_text())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seeds_in(folder: Path) -> list[int]:
    names = (entry.name.removeprefix("seed-") for entry in folder.glob("seed-*") if entry.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())
