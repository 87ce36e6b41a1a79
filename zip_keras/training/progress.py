"""What a run tells: a progress bar for people, `metrics.jsonl` for programs."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from zip_keras.training.run_folder import RunFolder

QUIET_EVERY = 30.0  # seconds between lines where standard error is no terminal


class RunProgress:
    """The progress bar and the log of a run.

    Args:
        folder: where `metrics.jsonl` goes.
        steps: of the whole run.
        start: steps done before this start.
        batch_size: images a step.
    """

    def __init__(self, folder: RunFolder, steps: int, start: int, batch_size: int):
        from tqdm import tqdm

        self.folder, self._batch_size = folder, batch_size
        self._bar = tqdm(
            total=steps,
            initial=start,
            desc="train",
            unit="step",
            file=sys.stderr,
            disable=not folder.chief,
            mininterval=0.5 if sys.stderr.isatty() else QUIET_EVERY,
            dynamic_ncols=True,
        )
        self._since, self._steps_since = time.monotonic(), 0

    def step(self) -> None:
        """Counts one step."""
        self._bar.update()
        self._steps_since += 1

    def show_losses(self, step: int, values: dict[str, Any]) -> None:
        """Losses and positives of the steps since the last call."""
        seconds, steps = time.monotonic() - self._since, self._steps_since
        self._since, self._steps_since = time.monotonic(), 0
        numbers = {name: float(value) for name, value in values.items()}
        speed = {"images_per_second": steps * self._batch_size / max(seconds, 1e-9)}
        self.folder.append_metrics({"step": step, **{k: round(v, 6) for k, v in {**numbers, **speed}.items()}})
        with_anchors = [m for m in (1, 2, 3) if f"positives_{m}" in numbers]
        levels = " ".join(f"{numbers[f'classification_{m}']:.2f}+{numbers[f'box_{m}']:.2f}" for m in with_anchors)
        positives = "/".join(f"{numbers[f'positives_{m}']:.0f}" for m in with_anchors)
        rate = f"{numbers['learning_rate']:.2g} {speed['images_per_second']:.1f} images/s"
        self._bar.set_postfix_str(
            f"loss {numbers['loss']:.3f} (cls+box per level {levels}) pos {positives} lr {rate}", refresh=False
        )

    def show_evaluation(self, step: int, values: dict[str, Any]) -> None:
        """Average recall after an evaluation."""
        numbers = {name: float(value) for name, value in values.items()}
        self.folder.append_metrics({"step": step, **{name: round(value, 6) for name, value in numbers.items()}})
        self.say(f"step {step}: " + "  ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
        self._since, self._steps_since = time.monotonic(), 0  # evaluation is no training time

    def over(self, items: Iterable[Any]) -> Iterator[Any]:
        """`items` behind a bar of their own."""
        from tqdm import tqdm

        yield from tqdm(
            items,
            desc="evaluate",
            unit="image",
            leave=False,
            file=sys.stderr,
            disable=not self.folder.chief,
            mininterval=0.5 if sys.stderr.isatty() else QUIET_EVERY,
        )

    def say(self, text: str) -> None:
        """One line that stays."""
        self._bar.clear()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        self._bar.close()
