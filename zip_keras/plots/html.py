"""What the reports share: one HTML file that needs nothing beside itself.

Curves are inline SVG, pictures are JPEG data URIs with the boxes drawn as SVG over them. Pointing at a box shows what
it is.
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

_LONGEST_SIDE = 560  # pixels of a picture

LoadImage = Callable[[ImageId], np.ndarray | None]


def render(template: str, **content: Any) -> str:
    """A template of `plots/templates` as text.

    Raises:
        UserError: Jinja2 is not installed.
    """
    jinja2 = optional_import("jinja2", "the report", "train")
    # Autoescape, because names of classes and images are anybody's; `inline_svg` marks what is HTML already.
    environment = jinja2.Environment(loader=jinja2.PackageLoader("zip_keras.plots"), autoescape=True)
    return environment.get_template(template).render(**content)


def shown_image(
    ground_truth: GroundTruth, place: int, load_image: LoadImage, boxes: Sequence[dict[str, str]], caption: str
) -> dict[str, Any]:
    """An image as the template's macro `images` takes it.

    Args:
        place: of the image in the ground truth.
        load_image: gives uint8 `[H, W, 3]` RGB of an image id, or None where there is no picture.
        boxes: from `rectangle`, the last on top.
        caption: below it, after the image id.
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
    """A box `[4]` in pixels, drawn as the style class `kind`; `text` is shown where it is pointed at."""
    x, y, width, height = (f"{value:.1f}" for value in xywh)
    return {"kind": kind, "x": x, "y": y, "width": width, "height": height, "text": text}


def inline_svg(figure: Any) -> Any:
    """A Matplotlib figure as HTML."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    return optional_import("jinja2", "the report", "train").utils.markupsafe.Markup(text[text.index("<svg") :])


def number(value: float) -> str:
    """Four digits; NaN where the data has no such object."""
    return "no such object" if math.isnan(value) else f"{value:.4f}"


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
