"""`zip-keras attention`: map attention on images, as pictures and numbers."""

import argparse
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zip_keras.analysis.attention.statistics import (
    STREAMS,
    DecisionSpread,
    LevelAttention,
    MapDecisions,
    gather_decisions,
    spread,
)
from zip_keras.cli import _options
from zip_keras.cli._images import ImageReader
from zip_keras.cli._output import print_counts, without_nan, write_json
from zip_keras.cli._paths import check_output_folder
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.inference.model_files import find_model
from zip_keras.predictions.unfinished import files_of
from zip_keras.utils.environment import note_environment
from zip_keras.utils.files import atomic_write
from zip_keras.utils.optional import optional_import
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Draws the decisions of map attention (MAD, paper Figure 4). For each image, DIR/IMAGE_ID.png shows the maps of F
(zoom-out) and H (zoom-in) with the largest and smallest mu at levels 1 and 2, before and after the decision.
DIR/mu.npz holds the mu vectors of all images, DIR/mu.json the printed numbers, DIR/mu.png the spread of mu over images,
and DIR/environment.json the command, versions and options.
PATH is an image, a folder, a .txt list of images or a data set spec, as for zip-keras propose."""
EXAMPLES = """\
  zip-keras attention photo.jpg --model runs/bccd --output attention/
  zip-keras attention data/bccd:val --model runs/bccd --output attention/ --pictures 5 --maps 6
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_paths_argument(parser)
    _options.add_model_argument(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--maps",
        type=_options.in_range(int, low=1),
        default=4,
        metavar="N",
        help="number of strongest and of weakest maps per stream (default: 4)",
    )
    parser.add_argument(
        "--pictures",
        type=_options.in_range(int, low=0),
        metavar="N",
        help="draw only the first N images (default: all)",
    )
    _options.add_bad_image_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    optional_import("matplotlib.figure", "zip-keras attention", "train")
    check_output_folder("--output", arguments.output)
    model = files_of(find_model(arguments.model))
    images, left_out = find_images(arguments.paths, arguments.on_bad_image)
    start_tensorflow(arguments.device)
    from zip_keras.analysis.attention.extraction import compile_attention
    from zip_keras.inference.loading import load_keras_proposer

    attend = compile_attention(load_keras_proposer(arguments.model), arguments.model)
    folder = Path(arguments.output)
    work = _Work(attend, folder, arguments)
    decisions = gather_decisions(list(work.over(images)))
    summary = {key: spread(mu) for key, mu in decisions.mu.items()}
    _write(folder, decisions, summary, arguments.model)
    note_environment(folder, {"model": model, "maps": arguments.maps, "pictures": arguments.pictures})
    print(f"{folder}: mu of {work.reader.done} images, {work.drawn} pictures")
    print_counts(left_out, "left out")
    if work.reader.bad:
        print(f"  skipped, cannot be read: {len(work.reader.bad)}")
    print_summary(summary, work.reader.done)


class _Work:
    """Computes mu and draws pictures image by image.

    Attributes:
        reader: reads and counts the images.
        drawn: number of pictures.
    """

    def __init__(self, attend, folder: Path, arguments: argparse.Namespace):
        self.attend, self.folder, self.maps = attend, folder, arguments.maps
        self.pictures = math.inf if arguments.pictures is None else arguments.pictures
        self.reader = ImageReader(arguments.on_bad_image == "skip")
        self.drawn = 0

    def over(self, images: Sequence[ImageFile]) -> Iterator[tuple[int | str, dict[tuple[int, str], np.ndarray]]]:
        """Iterate over image ids with their mu vectors by level and stream.

        Raises:
            UserError: an image cannot be read and `--on-bad-image` is not `skip`, no image can be read, or a picture
                cannot be written.
        """
        for image, pixels in self.reader.over(images):
            levels = self.attend(pixels)
            if self.drawn < self.pictures:
                self._draw(image, pixels, levels)
            yield (
                image.image_id,
                {(n, stream): level.mu[level.channels(stream)] for n, level in levels.items() for stream in STREAMS},
            )

    def _draw(self, image: ImageFile, pixels: np.ndarray, levels: dict[int, LevelAttention]) -> None:
        from zip_keras.analysis.attention.figures import attention_figure

        name = str(image.image_id).replace("/", "_")
        # The picture of an image called "mu" must not be overwritten by mu.png.
        file = self.folder / (f"{name}.png" if name != "mu" else "image_mu.png")
        figure = attention_figure(pixels, levels, str(image.image_id), self.maps)
        with atomic_write(str(file)) as unfinished:
            figure.savefig(unfinished, format="png", dpi=100)
        self.drawn += 1


def _write(folder: Path, decisions: MapDecisions, summary: dict[tuple[int, str], DecisionSpread], model: str) -> None:
    """Write mu.npz and mu.json, and mu.png if there are several images."""
    with atomic_write(str(folder / "mu.npz")) as unfinished, open(unfinished, "wb") as stream:
        np.savez_compressed(stream, **decisions.arrays())  # type: ignore[arg-type]
    numbers = {
        f"level_{level}_{name}": without_nan(dataclasses.asdict(value)) for (level, name), value in summary.items()
    }
    write_json(str(folder / "mu.json"), {"model": model, "images": len(decisions.image_ids), **numbers})
    if len(decisions.image_ids) > 1:
        from zip_keras.analysis.attention.figures import spread_figure

        with atomic_write(str(folder / "mu.png")) as unfinished:
            spread_figure(decisions).savefig(unfinished, format="png", dpi=100)


def print_summary(summary: dict[tuple[int, str], DecisionSpread], images: int) -> None:
    """Print a row for F and H of each level, with statistics between images if there are several."""
    names = ["mean mu", "lowest", "highest", "std, maps"]
    if images > 1:
        names += ["std, images", "share", "correlation"]
    print(f"  {'':<11}" + "".join(f"{name:>13}" for name in names))
    for (level, stream), row in summary.items():
        values = [row.mean, row.lowest, row.highest, row.between_maps]
        if images > 1:
            values += [row.between_images, row.share_between_images, row.correlation]
        cells = "".join(f"{'-' if math.isnan(value) else f'{value:.3f}':>13}" for value in values)
        print(f"  level {level} {stream}  {cells}")
    if images > 1:
        print("  std, images: standard deviation of a map's mu over the images (root mean square over the maps)")
        print("  share: part of the variance of mu that is between images; correlation: mean over pairs of mu vectors")
