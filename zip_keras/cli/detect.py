"""`zip-keras detect`: write the detections of images and videos."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._detect_video import checked_video, detect_video
from zip_keras.cli._paths import check_input_file, check_output_file, check_output_folder
from zip_keras.cli._resumable import Predict, ResumablePrediction
from zip_keras.data.given import GivenProposals
from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.inference.model_files import find_model
from zip_keras.plots.detections import LABELLED_SCORE
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import check_ids, format_of
from zip_keras.predictions.unfinished import files_of
from zip_keras.utils.optional import optional_import
from zip_keras.utils.startup import start_tensorflow

if TYPE_CHECKING:
    from zip_keras.inference.detectors import DetectorRunner
    from zip_keras.models.detector import Detector

DESCRIPTION = """\
Writes the detections of images: boxes in pixels of each image, scores and classes. PATH is an image, a folder (with its
subfolders), a .txt list of images, a data set spec such as data/voc07:val or records:DIR, or a video. The suffix of
--output determines the format, for example .json (COCO results). category_id is the class number + 1; the command
prints the numbers and names. An image's id is its file stem, as an integer if the stem is numeric.

Videos are read frame by frame. A .json holds an object for each frame with its number, its time in seconds and its
detections; in other formats the image id is the frame number. --video also writes the frames with their detections.

The output is written when everything is done. Finished images and frames are kept in .NAME.unfinished beside it; the
same command continues from there after an interrupt, an error or a full disk."""
EXAMPLES = """\
  zip-keras detect photo.jpg --model runs/bccd_two_stage --output detections.json --pictures pictures/
  zip-keras detect data/bccd:test --model runs/bccd_two_stage --output detections.json --max-detections 100
  zip-keras detect photos/ --model exported/cells --output detections.npz --score-threshold 0.5
  zip-keras detect street.mp4 --model runs/bccd_two_stage --output detections.json --video drawn.mp4 --every 5
  zip-keras detect data/bccd:test --model runs/bccd_two_stage --proposals search.json --output detections.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive, share = _options.in_range(int, low=1), _options.in_range(float, low=0, high=1)
    _options.add_paths_argument(parser)
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="preset, run folder, .keras file or exported folder of a detector",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help=_options.PROPOSAL_FILE)
    _options.add_bad_image_argument(parser)
    group = parser.add_argument_group("detection (default: as trained)")
    group.add_argument("--max-detections", type=positive, metavar="N", help="maximum number of boxes per image")
    group.add_argument("--score-threshold", type=share, metavar="S", help="leave out boxes with a lower score")
    group.add_argument(
        "--scales", type=positive, nargs="+", metavar="PIXELS", help="short side of the image, one value per scale"
    )
    group.add_argument(
        "--long-side", type=positive, metavar="PIXELS", help="maximum long side of the image at every scale"
    )
    group.add_argument("--flip", action="store_true", default=None, help="use flip test-time augmentation")
    group.add_argument(
        "--proposals",
        metavar="FILE",
        help="classify the boxes of a proposal file (json, csv, npz, parquet) instead of the detector's own proposals; "
        "for two-stage detectors, images only",
    )
    group = parser.add_argument_group("pictures and videos")
    group.add_argument("--pictures", metavar="DIR", help="also draw labelled boxes into DIR/IMAGE_ID.jpg")
    group.add_argument(
        "--pictures-score",
        type=share,
        default=LABELLED_SCORE,
        metavar="S",
        help=f"minimum score of a drawn box (default: {LABELLED_SCORE})",
    )
    group.add_argument(
        "--video", metavar="FILE", help="for a video: also write its frames with labelled boxes: .mp4, .mkv"
    )
    group.add_argument("--every", type=positive, metavar="N", help="for a video: process only every N-th frame")


def run(arguments: argparse.Namespace) -> None:
    format_of(arguments.output)
    check_output_file("--output", arguments.output)
    check_output_folder("--pictures", arguments.pictures)
    if arguments.pictures:
        optional_import("PIL.Image", "--pictures", "train")
    if arguments.proposals:
        check_input_file("--proposals", arguments.proposals)
    video = checked_video(arguments)
    model = find_model(arguments.model)
    made_by = _made_by(model, arguments)
    if video is not None:
        detect_video(arguments, video, made_by, _load)
        return
    images, left_out = find_images(arguments.paths, arguments.on_bad_image)
    check_ids(arguments.output, (image.image_id for image in images))
    work = ResumablePrediction(arguments, made_by)

    def prepare() -> Predict:
        detect = _load(arguments)
        from zip_keras.inference.detectors import add_detections

        given = _given_proposals(arguments.proposals, images, detect.detector)
        names = ", ".join(f"{number} {name}" for number, name in enumerate(detect.class_names, 1))
        print(f"category_id: {names}")

        def predict(image: ImageFile, pixels: np.ndarray) -> ImagePredictions:
            found = detect(pixels, given(image, pixels))
            if arguments.pictures:
                work.save_picture(image, _picture(pixels, found, detect.class_names, arguments.pictures_score))
            one = Predictions()
            add_detections(one, image.image_id, found)
            return one[image.image_id]

        return predict

    work.run(images, prepare, left_out)


def _load(arguments: argparse.Namespace) -> "DetectorRunner":
    start_tensorflow(arguments.device)
    from zip_keras.inference.detectors import DetectionOptions, open_detector

    options = DetectionOptions(
        arguments.max_detections,
        arguments.score_threshold,
        arguments.scales,
        arguments.long_side,
        arguments.flip,
    )
    return open_detector(arguments.model, options)


def _given_proposals(
    file: str | None, images: Sequence[ImageFile], detector: "Detector | None"
) -> Callable[[ImageFile, np.ndarray], GivenProposals | None]:
    """Return a function that gives an image's proposals from the file, at most as many as the detector's own.

    Without a file the function returns None.
    """
    from zip_keras.inference.given_proposals import check_inside, read_given_proposals
    from zip_keras.models.two_stage import TwoStageNetwork

    if file is None:
        return lambda image, pixels: None
    if detector is None or not isinstance(detector.network, TwoStageNetwork):
        raise UserError("--proposals: needs a two-stage detector: run folder, .keras file, preset or SavedModel")
    network = detector.network
    count = (detector.proposal_config or network.proposal_config).max_proposals
    ids = [image.image_id for image in images]
    of_image = dict(zip(ids, read_given_proposals(file, ids, count), strict=True))

    def given(image: ImageFile, pixels: np.ndarray) -> GivenProposals:
        check_inside(file, image.image_id, pixels.shape[:2], of_image[image.image_id])
        return of_image[image.image_id]

    return given


def _made_by(model: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that determines the boxes and the picture of an image."""
    names = ("max_detections", "score_threshold", "scales", "long_side", "flip", "pictures_score")
    given = files_of(arguments.proposals) if arguments.proposals else None
    return {"model": files_of(model), "proposals": given, **{name: getattr(arguments, name) for name in names}}


def _picture(pixels: np.ndarray, found: dict[str, np.ndarray], class_names: Sequence[str], least: float) -> Any:
    from zip_keras.plots.detections import draw_detections

    shown = found["scores"] >= least
    boxes, scores, classes = (found[name][shown] for name in ("boxes", "scores", "classes"))
    return draw_detections(pixels, boxes, scores, classes, class_names)
