"""Execution of a table: one run of `zip-keras train` and `zip-keras measure` for every row and seed.

OUTPUT/ROW/seed-N    run folder of `zip-keras train`, with result.json and boxes of `zip-keras measure`,
                     log.txt (output of the commands) and failed.json (why the last attempt failed)
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
        row, seed: row and seed of the run.
        folder: run folder.
        config: config that the table defines.
        state: "finished", "to measure" (trained, but the table's test data or size changed), "to go on" (without a
            result for this config), or "to start".
        error: why the last attempt failed, if it did.
        result: result of `measure_run`, if finished.
    """

    row: Row
    seed: int
    folder: Path
    config: ExperimentConfig
    state: State
    error: str | None = None
    result: dict[str, Any] | None = None


def find_run(table: AblationTable, output: str | Path, row: Row, seed: int) -> Run:
    """Find the state of a run.

    Raises:
        UserError: its folder holds a run with a config that differs from the table, or a broken result.
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
    """All runs of a table. Seeds are the outer loop, so every row has one result before any row has two.

    Raises:
        UserError: as `find_run`.
    """
    return [find_run(table, output, row, seed) for seed in table.seeds for row in table.rows]


def found_runs(table: AblationTable, output: str | Path) -> dict[str, list[Run]]:
    """The runs that have a folder, with any seed, by name of the row.

    Raises:
        UserError: as `find_run`.
    """
    return {
        row.name: [find_run(table, output, row, seed) for seed in _seeds_in(Path(output) / row.slug)]
        for row in table.rows
    }


def commands(table: AblationTable, run: Run) -> list[list[str]]:
    """The remaining commands of a run, as arguments of `zip-keras`."""
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
    """Run the remaining runs of a table. A failure is recorded in the run's folder, and the other runs continue.

    Args:
        table: rows and seeds to run.
        output: parent of the run folders.
        after_run: called after every run, finished or failed.
        say: called with each message for the user.
        program: prefix of every command; tests replace it.

    Returns:
        The runs that failed.

    Raises:
        UserError: a folder holds another run (checked before the first run), or another process uses `output`.
        KeyboardInterrupt: interrupted; the subprocess has saved its work.
    """
    failed = []
    # A subprocess inherits the lock and holds it even if this process is killed.
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
            error = next((line for line in errors if line is not None), None)  # a failure skips the remaining commands
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
