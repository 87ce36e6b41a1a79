"""Command line options for `zip_keras.prediction.settings.Settings`, shared by the commands that use a model."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zip_keras.prediction.settings import Settings


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("prediction (default: as trained)")
    group.add_argument("--max-proposals", type=int, metavar="N", help="boxes an image at most")
    group.add_argument(
        "--short-side", type=int, nargs="+", metavar="PIXELS", help="size or sizes at which the network looks"
    )
    group.add_argument("--long-side", type=int, metavar="PIXELS", help="cap of the longer side of every look")
    group.add_argument(
        "--paper-looks",
        action="store_true",
        help="four looks as in the paper: short sides 1000, 750, 500, 250 for a model that looks at 600",
    )
    group.add_argument("--flip", action="store_true", default=None, help="look at the mirrored image too")
    group.add_argument(
        "--passes", type=int, metavar="T", help="feed boxes back and refine them T times (needs model.recursion)"
    )
    group.add_argument("--vote", type=float, metavar="IOU", help="box voting among boxes that overlap so much; 0 = off")


def read_settings(arguments: argparse.Namespace) -> "Settings":
    """Raises `UserError` for values that cannot be."""
    from zip_keras.prediction.settings import Settings

    return Settings(
        max_proposals=arguments.max_proposals,
        short_sides=arguments.short_side,
        long_side=arguments.long_side,
        paper_looks=arguments.paper_looks,
        flip=arguments.flip,
        vote_iou=arguments.vote,
        passes=arguments.passes,
    )
