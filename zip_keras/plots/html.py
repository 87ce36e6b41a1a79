"""Shared functions of the reports. A report is one self-contained HTML file.

Curves are inline SVG. Pictures are JPEG data URIs with boxes drawn over them as SVG. Each box has a tooltip.
"""

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.predictions.container import ImageId
from zip_keras.utils.optional import optional_import

_LONGEST_SIDE = 560  # of a picture, in pixels

LoadImage = Callable[[ImageId], np.ndarray | None]


def render(template: str, **content: Any) -> str:
    """Render a template of `plots/templates`.

    Raises:
        UserError: Jinja2 is not installed.
    """
    jinja2 = optional_import("jinja2", "the report", "train")
    # Autoescape, because class names and image ids are untrusted. `inline_svg` marks its result as HTML.
    environment = jinja2.Environment(loader=jinja2.PackageLoader("zip_keras.plots"), autoescape=True)
    return environment.get_template(template).render(**content)


def shown_image(
    ground_truth: GroundTruth, place: int, load_image: LoadImage, boxes: Sequence[dict[str, str]], caption: str
) -> dict[str, Any]:
    """An image as an argument of the template macro `images`.

    Args:
        ground_truth: provides the image id and, if there is no picture, the size.
        place: index of the image in the ground truth.
        load_image: returns uint8 `[H, W, 3]` RGB for an image id, or None if there is no picture.
        boxes: from `rectangle`, the last on top.
        caption: text below the image, after the image id.
    """
    image_id = ground_truth.image_ids[place]
    picture = load_image(image_id)
    height, width = picture.shape[:2] if picture is not None else np.nan_to_num(ground_truth.sizes[place], nan=500.0)
    return {
        "picture": None if picture is None else _data_uri(picture),
        "width": round(width),
        "height": round(height),
        "boxes": boxes,
        "caption": f"{image_id}: {caption}",
    }


def rectangle(xywh: np.ndarray, kind: str, text: str = "") -> dict[str, str]:
    """A box `[4]` (x, y, width, height) in pixels with the style class `kind` and the tooltip `text`."""
    x, y, width, height = (f"{value:.1f}" for value in xywh)
    return {"kind": kind, "x": x, "y": y, "width": width, "height": height, "text": text}


def inline_svg(figure: Any) -> Any:
    """Convert a Matplotlib figure to inline SVG."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    return optional_import("jinja2", "the report", "train").utils.markupsafe.Markup(text[text.index("<svg") :])


def number(value: float) -> str:
    """Format with four decimals; NaN is shown as "no such object"."""
    return "no such object" if math.isnan(value) else f"{value:.4f}"


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
