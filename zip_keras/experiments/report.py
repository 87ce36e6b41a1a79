"""Report of a table: `table.md` to read, `table.json` for programs, and the figure `table.png`."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zip_keras.config import ExperimentConfig
from zip_keras.errors import UserError
from zip_keras.experiments.runs import Run, found_runs
from zip_keras.experiments.seeds import SeedDifference, Spread, paired_difference, spread
from zip_keras.experiments.table import AblationTable, Row, of_detectors
from zip_keras.plots.experiments import ablation_figure
from zip_keras.utils.files import atomic_write
from zip_keras.utils.optional import optional_import

TRAINING_DATA = ("train", "train_proposals", "unseen_classes")  # of section `data`: what the training digest is of
SHOWN = ("accuracy", "cost", "training", "date", "machine", "versions", "model", "digests")


@dataclasses.dataclass(frozen=True)
class Measures:
    """Metrics that a table shows for one kind of model.

    Attributes:
        columns: metric name -> column head in the table.
        compared: metrics in the figure and in the differences of `table.json`.
        main: the metric whose differences the table shows.
        protocol, sizes: descriptions in the header of the table.
    """

    columns: dict[str, str]
    compared: tuple[str, ...]
    main: str
    protocol: str
    sizes: str


PROPOSALS = Measures(
    {
        "AR@10": "AR@10",
        "AR@100": "AR@100",
        "AR@1000": "AR@1000",
        "AR@100-S": "small",
        "AR@100-M": "medium",
        "AR@100-L": "large",
    },
    ("AR@10", "AR@100", "AR@1000"),
    "AR@100",
    "fast (equal to coco)",
    "recall: mean ± standard deviation over seeds; small, medium, large: AR@100",
)
DETECTIONS = Measures(
    {"AP50": "AP50", "AP75": "AP75", "AP": "AP", "AP-S": "small", "AP-M": "medium", "AP-L": "large"},
    ("AP50", "AP75", "AP"),
    "AP",
    "fast-ap (equal to coco-ap)",
    "AP: mean ± standard deviation over seeds; small, medium, large: AP",
)


def measures_of(table: AblationTable) -> Measures:
    """The metrics of a table: `DETECTIONS` or `PROPOSALS`."""
    return DETECTIONS if of_detectors(table) else PROPOSALS


@dataclasses.dataclass(frozen=True)
class RowReport:
    """The runs of a row.

    Attributes:
        row: row of the table.
        finished: evaluated runs by seed.
        unfinished: other runs that have a folder.
    """

    row: Row
    finished: dict[int, Run]
    unfinished: tuple[Run, ...]

    def accuracy(self, name: str) -> dict[int, float]:
        """A metric by seed; seeds for which it is undefined are skipped."""
        found = {seed: _result(run)["accuracy"].get(name) for seed, run in self.finished.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def spread(self, section: str, name: str) -> Spread | None:
        """Spread over the seeds of a number in `result.json`, such as `("cost", "gflops")`; None without values."""
        values = [_result(run)[section][name] for run in self.finished.values()]
        values = [value for value in values if value is not None]
        return spread(values) if values else None


def collect(table: AblationTable, output: str | Path) -> list[RowReport]:
    """All rows of a table with their runs.

    Raises:
        UserError: a folder holds a run with a config that differs from the table, or a broken result.
    """
    return [
        RowReport(
            row,
            {run.seed: run for run in runs if run.result is not None},
            tuple(run for run in runs if run.result is None),
        )
        for row, runs in zip(table.rows, found_runs(table, output).values(), strict=True)
    ]


def write_report(table: AblationTable, output: str | Path) -> str:
    """Write `table.md`, `table.json` and `table.png` into `output` and return the Markdown.

    Raises:
        UserError: as `collect`, or there are no runs, or matplotlib is missing.
    """
    output = Path(output)
    reports = collect(table, output)
    if not any(report.finished or report.unfinished for report in reports):
        raise UserError(f"{output}: holds no run of {table.file} yet; run it without --report-only")
    text = markdown(table, reports)
    with atomic_write(str(output / "table.md")) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    with atomic_write(str(output / "table.json")) as unfinished:
        unfinished.write_text(json.dumps(as_json(table, reports), indent=1) + "\n", encoding="utf-8")
    if any(report.finished for report in reports):
        optional_import("matplotlib", "table.png", "train")
        values = {
            name: {report.row.name: list(report.accuracy(name).values()) for report in reports}
            for name in measures_of(table).compared
        }
        figure = ablation_figure(table.name, values)
        with atomic_write(str(output / "table.png")) as unfinished:
            figure.savefig(unfinished, format="png", dpi=120)
    return text


def differences(table: AblationTable, reports: Iterable[RowReport], name: str) -> dict[str, SeedDifference]:
    """Difference of a metric to the reference by row, paired by seed; empty without a reference or its results."""
    by_name = {report.row.name: report for report in reports}
    if table.reference not in by_name:
        return {}
    reference = by_name[table.reference].accuracy(name)
    found = {
        row: paired_difference(report.accuracy(name), reference)
        for row, report in by_name.items()
        if row != table.reference
    }
    return {row: difference for row, difference in found.items() if difference is not None}


def markdown(table: AblationTable, reports: list[RowReport]) -> str:
    """The content of `table.md`."""
    parts = [f"# {table.name}", "\n".join(f"- {line}" for line in _header(table, reports)), _numbers(table, reports)]
    main = measures_of(table).main
    of_reference = differences(table, reports, main)
    if of_reference:
        parts.append(_differences(table, main, of_reference))
    failed = [run for report in reports for run in report.unfinished if run.error]
    if failed:
        lines = [f"- {run.row.name}, seed {run.seed}: {run.error}" for run in failed]
        parts.append("Failed; the same command tries them again:\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_json(table: AblationTable, reports: list[RowReport]) -> dict[str, Any]:
    """The content of `table.json`."""
    measures = measures_of(table)
    rows = []
    for report in reports:
        numbers = {name: report.accuracy(name) for name in measures.columns}
        spreads = {name: spread([*values.values()]) for name, values in numbers.items() if values}
        seeds = {seed: {key: _result(run).get(key) for key in SHOWN} for seed, run in report.finished.items()}
        rows.append(
            {
                "name": report.row.name,
                "overrides": report.row.overrides,
                "accuracy": {name: dataclasses.asdict(value) for name, value in spreads.items()},
                "seeds": seeds,
                "unfinished": {run.seed: run.error or run.state for run in report.unfinished},
            }
        )
    compared = {name: differences(table, reports, name) for name in measures.compared}
    return {
        "table": str(table.file),
        "base": str(table.base),
        "overrides": table.overrides,
        "test": table.test,
        "reference": table.reference,
        "rows": rows,
        "differences": {
            name: {row: {**dataclasses.asdict(of), "verdict": of.verdict} for row, of in found.items()}
            for name, found in compared.items()
        },
    }


def _header(table: AblationTable, reports: list[RowReport]) -> list[str]:
    measures = measures_of(table)
    results = [_result(run) for report in reports for run in report.finished.values()]
    budgets = [_budget(table.config(row, table.seeds[0])) for row in table.rows]
    usual = max(budgets, key=budgets.count)
    others = [f"{row.name}: {own}" for row, own in zip(table.rows, budgets, strict=True) if own != usual]
    alike = "every run" if not others else f"a run ({'; '.join(others)})"
    lines = [
        f"budget of {alike}: {usual}; {table.base.name} with {' '.join(table.overrides) or 'no override'}",
        f"data: measured on {table.test}, protocol {measures.protocol}",
        "what a row changes: " + "; ".join(f"{row.name}: {' '.join(row.overrides) or 'nothing'}" for row in table.rows),
    ]
    if not results:
        return [*lines, "no run is finished yet"]
    first = results[0]
    lines[1] += f": {first.get('images')} images, {first.get('objects')} objects"
    if measures is PROPOSALS and (length := min(result.get("max_boxes", 1000) for result in results)) < 1000:
        lines[1] += f"; lists of {length} boxes, so recall beyond {length} is recall at {length}"
    for name, digests in (
        ("training images", _digests(results, "training", TRAINING_DATA)),
        ("test images", _digests(results, "test")),
    ):
        if any(len(found) > 1 for found in digests):
            lines.append(
                f"NOT ALIKE: the {name} of these runs differ (digests in table.json); delete and run them again"
            )
    machines = _each(
        f"{m['cores']} cores, {m['architecture']}, {m['vector_units']}" for m in (r["machine"] for r in results)
    )
    packages = [f"{name} {_each(r['versions'].get(name, '?') for r in results)}" for name in first["versions"]]
    dates = sorted(result["date"] for result in results)
    cost = first["cost"]
    return [
        *lines,
        f"measured: {_each(result.get('model', '?') for result in results)} of every run",
        f"date: {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else ""),
        f"machine: {machines}; {', '.join(packages)}",
        f"{measures.sizes} of objects below 32², to 96² and above, in pixels of the original image",
        f"GFLOPs and forward: the network alone at {cost['height']} x {cost['width']} pixels, two operations a "
        f"multiply-add; {cost['timed']}, each run in its own process after its training, mean over seeds; rows are "
        "timed one after the other, so what else the machine does differs between them",
        "training: what the steps take at the median speed of the log lines; building, tracing and evaluation apart",
    ]


def _budget(config: ExperimentConfig) -> str:
    return f"{config.train.steps} steps of {config.train.batch_size} images of {config.data.train}"


def _numbers(table: AblationTable, reports: list[RowReport]) -> str:
    columns = measures_of(table).columns
    lines = [
        _line("row", "seeds", *columns.values(), "parameters, M", "GFLOPs", "forward, ms", "training, s"),
        _line("---", *["---:"] * (len(columns) + 5)),
    ]
    for report in reports:
        numbers = (report.accuracy(name) for name in columns)
        cells = [str(spread([*values.values()])) if values else "-" for values in numbers]
        for section, name, unit, digits in (
            ("cost", "parameters", 1e6, 2),
            ("cost", "gflops", 1, 2),
            ("cost", "milliseconds", 1, 1),
            ("training", "seconds", 1, 0),
        ):
            of = report.spread(section, name)
            cells.append(f"{of.mean / unit:.{digits}f}" if of else "-")
        lines.append(_line(report.row.name, str(len(report.finished)), *cells))
    return "\n".join(lines)


def _differences(table: AblationTable, main: str, of_reference: dict[str, SeedDifference]) -> str:
    lines = [
        f"{main} minus that of {table.reference}, paired by seed; 95 % interval by Student's t over n seeds, for each "
        "row alone:\n",
        _line("row", "n", "difference", "standard error", "95 % interval", "difference is"),
        _line("---", "---:", "---:", "---:", "---:", "---"),
    ]
    for row, of in of_reference.items():
        error = "-" if of.error is None else f"{of.error:.4f}"
        interval = "-" if of.low is None else f"{of.low:+.4f} to {of.high:+.4f}"
        lines.append(_line(row, str(of.n), f"{of.mean:+.4f}", error, interval, of.verdict))
    return "\n".join(lines)


def _digests(results: Sequence[dict[str, Any]], what: str, named: Sequence[str] = ()) -> list[set[str]]:
    """Digests of the runs, grouped by the data that their configs name: only within a group must they be equal."""
    groups: dict[str, set[str]] = {}
    for result in results:
        if digest := result.get("digests", {}).get(what):
            data = result["config"]["data"]
            groups.setdefault(repr([data.get(key) for key in named]), set()).add(digest)
    return list(groups.values())


def _result(run: Run) -> dict[str, Any]:
    assert run.result is not None
    return run.result


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _each(texts: Iterable[str]) -> str:
    """Join distinct texts in order; results of one table may come from several machines."""
    return " and ".join(dict.fromkeys(texts))
