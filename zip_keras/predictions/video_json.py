"""Detections of a video as JSON: one object per frame with its number and time, including frames without detections.

`{"video", "frame_rate", "class_names", "frames": [{"frame": 0, "time": 0.0, "detections": [{"category_id", "category",
"bbox": [x, y, width, height], "score", "level"}]}]}`. `category_id` is 1 + the class index. Time is in seconds, null if
the file does not state it.
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
    """Write frames as a stream; the file is created atomically when it is complete.

    Args:
        file: path of the JSON file.
        head: metadata of the video.
        class_names: class names of the detector.
        frames: time in seconds (NaN: unknown) and detections of each frame, with the frame number as image id.

    Returns:
        The number of boxes written.

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
