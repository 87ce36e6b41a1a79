"""Progress of a run: a progress bar for users, `metrics.jsonl` for programs."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from zip_keras.training.run_folder import RunFolder
from zip_keras.utils.optional import optional_import
from zip_keras.utils.progress import BUILDING, bar_interval, note, verbosity


class RunProgress:
    """The progress bar and the log of a run.

    The bar starts after the first step, because TensorFlow may print messages while it builds its graphs.

    Args:
        folder: run folder with `metrics.jsonl`.
        steps: number of steps of the whole run.
        start: number of steps done before this start.
        batch_size: number of images per step.
    """

    def __init__(self, folder: RunFolder, steps: int, start: int, batch_size: int):
        self.folder, self._steps, self._done, self._batch_size = folder, steps, start, batch_size
        self._shown = folder.chief and verbosity() >= 0
        self._bar: Any = None
        if self._shown:
            note(BUILDING)
        self._since, self._steps_since = time.monotonic(), 0

    def step(self) -> None:
        """Count one step."""
        self._done += 1
        if self._bar is None:
            self._bar = self._make_bar(total=self._steps, initial=self._done, desc="train", unit="step")
        else:
            self._bar.update()
        self._steps_since += 1

    def show_losses(self, step: int, values: dict[str, Any]) -> None:
        """Log and show losses and positives, averaged over the steps since the last call."""
        seconds, steps = time.monotonic() - self._since, self._steps_since
        self._since, self._steps_since = time.monotonic(), 0
        numbers = {name: float(value) for name, value in values.items()}
        speed = {"images_per_second": steps * self._batch_size / max(seconds, 1e-9)}
        self.folder.append_metrics({"step": step, **{k: round(v, 6) for k, v in {**numbers, **speed}.items()}})
        with_anchors = [m for m in (1, 2, 3) if f"positives_{m}" in numbers]
        parts = [f"{numbers[f'classification_{m}']:.2f}+{numbers[f'box_{m}']:.2f}" for m in with_anchors]
        counts = [numbers[f"positives_{m}"] for m in with_anchors]
        for prefix in ("", "roi_"):  # losses of a detector
            if f"{prefix}classification" in numbers:
                parts.append(f"{numbers[f'{prefix}classification']:.2f}+{numbers[f'{prefix}box']:.2f}")
                counts.append(numbers[f"{prefix}positives"])
        levels, positives = " ".join(parts), "/".join(f"{count:.0f}" for count in counts)
        rate = f"{numbers['learning_rate']:.2g} {speed['images_per_second']:.1f} images/s"
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"loss {numbers['loss']:.3f} (cls+box per level {levels}) pos {positives} lr {rate}", refresh=False
            )

    def show_evaluation(self, step: int, values: dict[str, Any]) -> None:
        """Log and print the metrics of an evaluation."""
        numbers = {name: float(value) for name, value in values.items()}
        self.folder.append_metrics({"step": step, **{name: round(value, 6) for name, value in numbers.items()}})
        self.say(f"step {step}: " + "  ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
        self._since, self._steps_since = time.monotonic(), 0  # exclude the evaluation from the training speed

    def over(self, items: Iterable[Any]) -> Iterator[Any]:
        """Iterate over `items` with a separate progress bar."""
        yield from self._make_bar(items, desc="evaluate", unit="image", leave=False)

    def say(self, text: str) -> None:
        """Print one line above the progress bar."""
        if self._bar is not None:
            self._bar.clear()
        note(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _make_bar(self, *items: Iterable[Any], **options: Any) -> Any:
        tqdm = optional_import("tqdm", "training", "train").tqdm
        return tqdm(
            *items, file=sys.stderr, disable=not self._shown, mininterval=bar_interval(), dynamic_ncols=True, **options
        )
