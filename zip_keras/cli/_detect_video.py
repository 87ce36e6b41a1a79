"""`zip-keras detect` on a video file: frame by frame in bounded memory, resumable."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zip_keras.cli._paths import check_output_file, check_picture
from zip_keras.errors import UserError
from zip_keras.inference.video import WRITTEN, Frame, Video, VideoWriter, is_video
from zip_keras.plots.detections import draw_detections
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import write_predictions
from zip_keras.predictions.unfinished import UnfinishedPredictions, image_key
from zip_keras.predictions.video_json import write_frames
from zip_keras.utils.files import atomic_write
from zip_keras.utils.optional import optional_import
from zip_keras.utils.progress import BUILDING, note, with_progress

if TYPE_CHECKING:
    from zip_keras.inference.detectors import DetectorRunner


def checked_video(arguments: argparse.Namespace) -> str | None:
    """Return the video named in the arguments after checking the options; None if there is no video.

    Raises:
        UserError: a video is combined with other paths or unsupported options, or an output cannot be written.
    """
    videos = [path for path in arguments.paths if is_video(path)]
    if not videos:
        for name in ("video", "every"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name} is for a video, and {arguments.paths[0]} is not a video; leave it out")
        return None
    if len(arguments.paths) > 1:
        raise UserError(f"{videos[0]}: a video needs its own output; run one command per video")
    if arguments.proposals:
        raise UserError("--proposals is for images, not for videos; leave it out")
    if arguments.pictures:
        raise UserError("--pictures draws images; use --video FILE.mp4 to draw a video")
    if arguments.video:
        check_picture("--video", arguments.video, tuple(WRITTEN))
        check_output_file("--video", arguments.video)
        optional_import("PIL.Image", "--video", "train")
    return videos[0]


def detect_video(
    arguments: argparse.Namespace,
    file: str,
    made_by: Mapping[str, Any],
    load: Callable[[argparse.Namespace], "DetectorRunner"],
) -> None:
    """Detect on the remaining frames and write the detections and the annotated video.

    Finished frames are kept if the command fails or is interrupted.

    Args:
        arguments: arguments of the command.
        file: path of the video.
        made_by: options and files that determine the boxes of a frame.
        load: loads the detector.

    Raises:
        UserError: the file is no video, or it is damaged and `--on-bad-image` is not `skip`.
        KeyboardInterrupt: the user interrupted the command.
    """
    video = Video(file)
    every = arguments.every or 1
    unfinished = UnfinishedPredictions(arguments.output, {**made_by, "every": every})
    if unfinished:
        note(f"{unfinished.path}: {len(unfinished)} frames are already done")
    detector = load(arguments)
    work = _Work(video, every, arguments.on_bad_image == "skip", unfinished)
    try:
        work.detect(detector)
    except (UserError, KeyboardInterrupt):
        if unfinished:
            note(f"{len(unfinished)} frames are kept in {unfinished.path}; the same command continues")
        raise
    if arguments.output.lower().endswith(".json"):
        head = {"video": file, "frame_rate": float(video.rate)}
        boxes = write_frames(arguments.output, head, detector.class_names, work.results())
    else:
        boxes = write_predictions(arguments.output, (part for _, part in work.results()))
    if arguments.video:
        work.draw(arguments.video, detector, arguments.pictures_score)
    unfinished.remove()
    speed = f", {work.seconds / work.done:.3f} s per frame" if work.done else ""
    print(f"{arguments.output}: {boxes} boxes of {len(work.times)} frames{speed}")
    names = ", ".join(f"{number} {name}" for number, name in enumerate(detector.class_names, 1))
    print(f"  category_id: {names}")
    if arguments.video:
        print(f"  video: {arguments.video}")


class _Work:
    """The passes over the frames of a video.

    Attributes:
        times: frame number -> seconds from the start of the video.
        done, seconds: number of frames that this process ran detection on, and the time it took.
    """

    def __init__(self, video: Video, every: int, skip_damage: bool, unfinished: UnfinishedPredictions):
        self.video, self.every, self.skip_damage, self.unfinished = video, every, skip_damage, unfinished
        self.times: dict[int, float] = {}
        self.done, self.seconds = 0, 0.0

    def detect(self, detector: "DetectorRunner") -> None:
        """Detect on every selected frame and store the results."""
        from zip_keras.inference.detectors import add_detections

        total = -(-self.video.count // self.every)
        for frame in with_progress(self._frames(), total, "frame", first=BUILDING):
            self.times[frame.number] = frame.seconds
            if (key := self._key(frame.number)) in self.unfinished:
                continue
            started = time.perf_counter()
            one = Predictions()
            add_detections(one, frame.number, detector(frame.pixels))
            self.unfinished.add(key, one[frame.number])
            self.done += 1
            self.seconds += time.perf_counter() - started
        if not self.times:
            raise UserError(f"{self.video.file}: no frame can be read")
        if max(self.times) + self.every < self.video.count:
            note(f"{self.video.file}: declares {self.video.count} frames, but ends after {max(self.times) + 1}")

    def results(self) -> Iterator[tuple[float, ImagePredictions]]:
        """Time and detections of every selected frame."""
        parts = self.unfinished.over(map(self._key, self.times))
        return zip(self.times.values(), parts, strict=True)

    def draw(self, file: str, detector: "DetectorRunner", least: float) -> None:
        """Write a video of the frames with their labelled detections of score `least` or more."""
        suffix = file[file.rindex(".") :].lower()
        with (
            atomic_write(file) as path,
            VideoWriter(path, WRITTEN[suffix], self.video.rate / self.every) as writer,
        ):
            for frame, (_, part) in zip(self._frames(), self.results(), strict=False):
                shown = part.choose(part.scores >= least)
                picture = draw_detections(
                    frame.pixels, shown.boxes, shown.scores, shown.categories - 1, detector.class_names
                )
                writer.write(np.asarray(picture))

    def _frames(self) -> Iterator[Frame]:
        """The selected frames. If damage is skipped, they end where the file is damaged."""
        try:
            for frame in self.video.frames():
                if not frame.number % self.every:
                    yield frame
        except UserError as error:
            if not self.skip_damage:
                raise
            note(f"skipped: {error}")

    def _key(self, number: int) -> str:
        return image_key(number, self.video.file, number)
