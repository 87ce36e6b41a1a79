"""Read and write video files frame by frame. Needs PyAV (the `video` extra)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.data.image_headers import MAX_PIXELS
from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
WRITTEN = {".mp4": "mp4", ".mkv": "matroska"}  # suffix -> FFmpeg format name
_ENCODERS = ("libx264", "mpeg4")  # the first available one is used


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        number: index in display order, from 0.
        seconds: time from the start of the video; NaN if the file does not state it.
        pixels: uint8 `[H, W, 3]` RGB, with the file's rotation applied.
    """

    number: int
    seconds: float
    pixels: np.ndarray


class Video:
    """A video file. Every pass over its frames opens the file again.

    Attributes:
        file: its path.
        count: number of frames as stated in the file, else estimated from the duration; 0 if it states neither. A
            damaged file has fewer.
        rate: frames per second.

    Raises:
        UserError: PyAV is not installed, or the file is no video.
    """

    def __init__(self, file: str | Path):
        self.file = str(file)
        self._av = optional_import("av", "a video", "video")
        with self._open() as container:
            stream = container.streams.video[0]
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self.count = stream.frames or round((container.duration or 0) / self._av.time_base * self.rate)

    def frames(self) -> Iterator[Frame]:
        """Iterate over the frames in order, with one in memory at a time.

        Raises:
            UserError: the file is damaged, or a frame has too many pixels. Earlier frames have been yielded by then.
        """
        number = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    if frame.width * frame.height > MAX_PIXELS:
                        raise UserError(
                            f"{self.file}: {frame.width} x {frame.height} pixels a frame; at most {MAX_PIXELS:,} are "
                            "taken; make the video smaller"
                        )
                    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                    seconds = float("nan") if frame.time is None else float(frame.time)
                    yield Frame(number, seconds, np.ascontiguousarray(pixels))
                    number += 1
            except self._av.FFmpegError as error:
                raise UserError(
                    f"{self.file}: damaged after frame {number - 1} ({error.strerror}); repair or cut the file"
                ) from None

    def _open(self) -> Any:
        try:
            container = self._av.open(self.file)
        except (self._av.FFmpegError, OSError) as error:
            raise UserError(f"{self.file}: no video that can be read ({error.strerror or error})") from None
        if not container.streams.video:
            container.close()
            raise UserError(f"{self.file}: holds no pictures; name a video file")
        return container


class VideoWriter(AbstractContextManager):
    """Writer for frames of one size, as H.264, or as MPEG-4 if FFmpeg has no H.264 encoder.

    Args:
        file: output path.
        container: a format of `WRITTEN`.
        rate: frames per second.

    Raises:
        UserError: PyAV is not installed, or the file cannot be written.
    """

    def __init__(self, file: str | Path, container: str, rate: Fraction):
        self._file, self._rate = str(file), rate
        self._av = optional_import("av", "a video", "video")
        try:
            self._container = self._av.open(self._file, "w", format=container)
        except (self._av.FFmpegError, OSError) as error:
            raise UserError(f"{self._file}: cannot be written: {error.strerror or error}") from None
        self._stream: Any = None

    def write(self, pixels: np.ndarray) -> None:
        """Add a frame, uint8 `[H, W, 3]` RGB. An odd height or width is padded by repeating the last row or column."""
        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")  # 4:2:0 requires even sides
        if self._stream is None:
            self._stream = self._container.add_stream(self._encoder(), rate=self._rate)
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        self._encode(frame)

    def __exit__(self, *error: object) -> None:
        try:
            if self._stream is not None and error[0] is None:
                self._encode(None)
        finally:
            self._container.close()

    def _encode(self, frame: Any) -> None:
        """Encode a frame and write the packets; None flushes the encoder."""
        try:
            self._container.mux(self._stream.encode(frame))
        except (self._av.FFmpegError, OSError) as error:
            raise UserError(f"{self._file}: cannot be written: {error.strerror or error}") from None

    def _encoder(self) -> str:
        for name in _ENCODERS:
            try:
                return self._av.Codec(name, "w").name
            except ValueError:  # UnknownCodecError
                continue
        raise UserError("this FFmpeg has no encoder for video: install av from PyPI")


def is_video(path: str) -> bool:
    """Whether a path has the suffix of a video file."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES
