"""`zip-keras detect`: writes the objects of images and videos with their classes."""

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
Writes the detections of images, boxes in their own pixels with scores and classes. PATH is an image, a folder (with its
subfolders), a .txt list of images, a data set spec such as data/voc07:val or records:DIR, or a video. The suffix of
--output chooses the kind of file, .json (COCO results) for example; a box's category_id is 1 + the number of its class
in the model's class names, which the command prints. An image's id is the integer of a numeric file stem, else the
stem.

Of a video, frames are read one after the other. A .json holds an object for each frame with its number, its time in
seconds and its detections; in other files the image's id is the frame's number. --video also writes the drawn frames.

The output appears complete at the end. Images and frames that are done are kept in .NAME.unfinished beside it; the same
command continues from there after an interrupt, an error or a full disk."""
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
    group.add_argument("--max-detections", type=positive, metavar="N", help="boxes an image at most")
    group.add_argument("--score-threshold", type=share, metavar="S", help="leave out boxes with a lower score")
    group.add_argument("--scales", type=positive, nargs="+", metavar="PIXELS", help="short side or sides of the image")
    group.add_argument("--long-side", type=positive, metavar="PIXELS", help="cap of the longer side at every scale")
    group.add_argument("--flip", action="store_true", default=None, help="flip test-time augmentation")
    group.add_argument(
        "--proposals",
        metavar="FILE",
        help="classify the boxes of a proposal file (json, csv, npz, parquet) instead of the detector's own proposals; "
        "for detectors of two stages and images",
    )
    group = parser.add_argument_group("pictures and videos")
    group.add_argument("--pictures", metavar="DIR", help="also draw labelled boxes into DIR/IMAGE_ID.jpg")
    group.add_argument(
        "--pictures-score",
        type=share,
        default=LABELLED_SCORE,
        metavar="S",
        help=f"least score of a drawn box (default: {LABELLED_SCORE})",
    )
    group.add_argument(
        "--video", metavar="FILE", help="of a video: also write its frames with labelled boxes: .mp4, .mkv"
    )
    group.add_argument("--every", type=positive, metavar="N", help="of a video: look at every N-th frame alone")


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
    """The proposals of an image in the file, as many as the detector takes of its own; None without a file."""
    from zip_keras.inference.given_proposals import check_inside, read_given_proposals
    from zip_keras.models.two_stage import TwoStageNetwork

    if file is None:
        return lambda image, pixels: None
    if detector is None or not isinstance(detector.network, TwoStageNetwork):
        raise UserError("--proposals: needs a detector of two stages: run folder, .keras file, preset or SavedModel")
    network = detector.network
    count = (detector.proposal_config or network.proposal_config).max_proposals
    ids = [image.image_id for image in images]
    of_image = dict(zip(ids, read_given_proposals(file, ids, count), strict=True))

    def given(image: ImageFile, pixels: np.ndarray) -> GivenProposals:
        check_inside(file, image.image_id, pixels.shape[:2], of_image[image.image_id])
        return of_image[image.image_id]

    return given


def _made_by(model: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All that the boxes and the picture of an image depend on."""
    names = ("max_detections", "score_threshold", "scales", "long_side", "flip", "pictures_score")
    given = files_of(arguments.proposals) if arguments.proposals else None
    return {"model": files_of(model), "proposals": given, **{name: getattr(arguments, name) for name in names}}


def _picture(pixels: np.ndarray, found: dict[str, np.ndarray], class_names: Sequence[str], least: float) -> Any:
    from zip_keras.plots.detections import draw_detections

    shown = found["scores"] >= least
    boxes, scores, classes = (found[name][shown] for name in ("boxes", "scores", "classes"))
    return draw_detections(pixels, boxes, scores, classes, class_names)
