"""Video files as frames and back."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from zip_keras.errors import UserError
from zip_keras.inference.video import Video, VideoWriter, is_video

pytest.importorskip("av")


def picture(number, height=48, width=64):
    """Grey, brighter from frame to frame, with a white upper left corner."""
    pixels = np.full((height, width, 3), 10 * number, np.uint8)
    pixels[:16, :16] = 255
    return pixels


def write(file, frames=6, container="mp4", **size):
    with VideoWriter(file, container, Fraction(5)) as writer:
        for number in range(frames):
            writer.write(picture(number, **size))
    return file


@pytest.mark.parametrize(("name", "container"), [("a.mp4", "mp4"), ("a.mkv", "matroska")])
def test_frames_with_numbers_and_times(tmp_path, name, container):
    video = Video(write(tmp_path / name, container=container))
    assert (video.count, video.rate) == (6, 5)
    frames = list(video.frames())
    assert [frame.number for frame in frames] == list(range(6))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    for frame in frames:
        assert frame.pixels.shape == (48, 64, 3)
        assert frame.pixels[:14, :14].mean() > 245
        assert frame.pixels[24:, 32:].mean() == pytest.approx(10 * frame.number, abs=4)


def test_odd_sizes_are_padded_by_a_pixel(tmp_path):
    [frame] = Video(write(tmp_path / "odd.mp4", frames=1, height=47, width=63)).frames()
    assert frame.pixels.shape == (48, 64, 3)


def test_a_turned_video_is_shown_upright(tmp_path):
    """The matrix that a telephone writes when it is held upright: a quarter turn clockwise."""
    content = write(tmp_path / "flat.mp4", frames=2).read_bytes()
    flat, turned = (struct.pack(">9i", *rows) for rows in ((65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
                                                           (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)))  # fmt: skip
    start = content.index(b"tkhd")
    place = content.index(flat, start)
    (tmp_path / "turned.mp4").write_bytes(content[:place] + turned + content[place + len(flat) :])
    frame = next(Video(tmp_path / "turned.mp4").frames())
    assert frame.pixels.shape == (64, 48, 3)
    assert frame.pixels[:14, -14:].mean() > 245
    assert frame.pixels[:14, :14].mean() < 20


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video " * 100)
    for name in ("text.mp4", "none.mp4"):
        with pytest.raises(UserError, match=rf"{name}: no video that can be read"):
            Video(tmp_path / name)
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "no" / "a.mp4", frames=1)
    assert is_video("A.MOV")
    assert not is_video("mp4")


def test_a_damaged_video_gives_the_frames_before(tmp_path):
    file = tmp_path / "whole.mp4"
    with VideoWriter(file, "mp4", Fraction(5)) as writer:
        for number in range(20):
            writer.write(np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8))
    content = file.read_bytes()
    half = len(content) // 2
    (tmp_path / "damaged.mp4").write_bytes(content[:half] + bytes(3000) + content[half + 3000 :])
    frames = Video(tmp_path / "damaged.mp4").frames()
    whole = [frame.number for frame, _ in zip(frames, range(5), strict=False)]
    assert whole == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"damaged\.mp4: damaged after frame \d+ \(Invalid data"):
        list(frames)
