"""Detections of a video as json: one object a frame, with its number and time, also where nothing was found.

`{"video", "frame_rate", "class_names", "frames": [{"frame": 0, "time": 0.0, "detections": [{"category_id", "category",
"bbox": [x, y, width, height], "score", "level"}]}]}`. `category_id` is 1 + the number of the class. Time is in seconds,
null where the file does not say.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zip_keras.predictions.container import ImagePredictions
from zip_keras.utils.files import atomic_write


def write_frames(
    file: str,
    head: Mapping[str, Any],
    class_names: Sequence[str],
    frames: Iterable[tuple[float, ImagePredictions]],
) -> int:
    """Writes frame by frame; the file appears, complete, at the end.

    Args:
        file: the json.
        head: what is said of the video.
        class_names: of the detector.
        frames: the time of each in seconds, and its detections with the frame's number as image id.

    Returns:
        the number of boxes written.

    Raises:
        UserError: the file cannot be written.
    """
    count = 0
    with atomic_write(file) as unfinished, open(unfinished, "w", encoding="utf-8") as stream:
        start = json.dumps({**head, "class_names": list(class_names)})
        stream.write(f'{start[:-1]}, "frames": [')
        for number, (seconds, part) in enumerate(frames):
            columns = (part.xywh.tolist(), part.scores.tolist(), part.categories.tolist(), part.levels.tolist())
            rows = [
                {"category_id": category, "category": class_names[category - 1], "bbox": box, "score": score}
                | ({"level": level} if level else {})
                for box, score, category, level in zip(*columns, strict=True)
            ]
            time = None if math.isnan(seconds) else round(seconds, 6)
            frame = {"frame": part.image_id, "time": time, "detections": rows}
            stream.write((",\n" if number else "\n") + json.dumps(frame, allow_nan=False))
            count += len(rows)
        stream.write("\n]}\n")
    return count
