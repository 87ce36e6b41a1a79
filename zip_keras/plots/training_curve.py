"""Plot training curves: loss and validation recall of runs over training steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from zip_keras.errors import UserError


def curves(lines: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """The `(step, loss)` and `(step, AR@100)` pairs of a run's metrics, sorted by step.

    If a step occurs twice because the run was interrupted after it, the later line is used.
    """
    losses = {line["step"]: float(line["loss"]) for line in lines if "loss" in line}
    recalls = {line["step"]: float(line["AR@100"]) for line in lines if "AR@100" in line}
    return sorted(losses.items()), sorted(recalls.items())


def plot_runs(runs: Mapping[str, Sequence[Mapping[str, Any]]], file: str) -> None:
    """Plot the losses (left) and AR@100 (right) of runs and save the picture.

    Args:
        runs: name -> lines of the run's metrics.
        file: output picture.

    Raises:
        UserError: the picture cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, lines in runs.items():
        losses, recalls = curves(lines)
        left.plot(*zip(*losses, strict=True) if losses else ([], []), label=name)
        right.plot(*zip(*recalls, strict=True) if recalls else ([], []), marker="o", label=name)
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel="AR@100 on validation images", ylim=(0, 1))
    left.legend()
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be written ({error})") from None
