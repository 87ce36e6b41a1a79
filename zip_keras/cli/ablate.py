"""`zip-keras ablate`: train and measure a table of configs under one budget."""

import argparse
import shlex
from pathlib import Path

from zip_keras.cli._options import in_range
from zip_keras.cli._paths import check_output_folder
from zip_keras.errors import UserError
from zip_keras.experiments.report import collect, write_report
from zip_keras.experiments.runs import commands, plan, run_table
from zip_keras.experiments.table import AblationTable, of_detectors, read_table, refuse_equal_configs
from zip_keras.utils.optional import optional_import
from zip_keras.utils.progress import note

DESCRIPTION = """\
Trains and measures every row of a table with every seed under one budget, and writes the table: recall (mean and spread
over seeds), parameters, GFLOPs, time, and which differences to the reference row are larger than the noise.

Each run is an ordinary run folder, OUTPUT/ROW/seed-N, made by `zip-keras train` and `zip-keras measure` in separate
processes. All rows run with the first seed, then with the second, and so on. table.md, table.json and table.png in
OUTPUT are rewritten after every run. The same command continues an interrupted table and retries failed runs."""
EXAMPLES = """\
  zip-keras ablate configs/experiments/structures_bccd.yaml --output runs/ablations/structures_bccd
  zip-keras ablate configs/experiments/structures_bccd.yaml --output runs/ablations/structures_bccd --dry-run
  zip-keras ablate configs/experiments/strategies_bccd.yaml --output runs/ablations/strategies_bccd --rows ZIP --seeds 0
  zip-keras ablate configs/experiments/structures_bccd.yaml --output runs/ablations/structures_bccd --report-only"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE.yaml", help="table of configs; configs/experiments/ has some")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the runs and the table")
    parser.add_argument(
        "--seeds", type=in_range(int, low=0), nargs="+", metavar="N", help="seeds (default: those of the table)"
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="run only these rows")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    what.add_argument(
        "--report-only", action="store_true", help="write the table of the existing runs and train nothing"
    )


def run(arguments: argparse.Namespace) -> None:
    check_output_folder("--output", arguments.output)
    table = read_table(arguments.table)
    chosen = table.select(arguments.rows, arguments.seeds)
    if arguments.report_only:
        if arguments.rows or arguments.seeds:
            raise UserError("--report-only writes the table of all existing runs; leave out --rows and --seeds")
        print(write_report(table, arguments.output), end="")
        return
    refuse_equal_configs(chosen)
    of_detectors(chosen)
    if arguments.dry_run:
        _show_plan(chosen, arguments.output)
        return
    optional_import("matplotlib", "table.png", "train")  # fail before hours of training
    optional_import("tqdm", "training", "train")
    collect(table, arguments.output)  # the report covers all rows, and a folder may contain another run
    failed = run_table(chosen, arguments.output, lambda: write_report(table, arguments.output), note)
    print(write_report(table, arguments.output), end="")
    note(f"\nwritten: {Path(arguments.output) / 'table.md'}, table.json and table.png")
    if failed:
        names = ", ".join(f"{one.row.name} seed {one.seed}" for one in failed)
        raise UserError(f"{len(failed)} runs failed ({names}); see above; run the same command to retry them")


def _show_plan(table: AblationTable, output: str) -> None:
    for one in plan(table, output):
        print(f"{one.row.name}, seed {one.seed}: {one.state}" + (f" (failed before: {one.error})" if one.error else ""))
        for words in commands(table, one):
            print(f"  python -m zip_keras {shlex.join(words)}")
