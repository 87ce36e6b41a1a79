"""Ground truth from files: a COCO json with its own doubles, any other data set as `open_dataset` reads it."""

from typing import Literal

from zip_keras.data.annotations import PixelConvention
from zip_keras.data.sources import is_compound, open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.coco_instances import read_instances
from zip_keras.evaluation.ground_truth import GroundTruth, from_dataset


def read_ground_truth(
    spec: str, on_bad_object: Literal["error", "skip", "clip"] = "error", pixels: PixelConvention = "continuous"
) -> GroundTruth:
    """Reads the objects that a data set spec names; image files are not needed for a COCO json.

    A COCO json is read here, not through `open_dataset`, because records hold float32 corners and protocol `coco` is
    defined on the json's own doubles.

    Args:
        spec: `DEVKIT:SPLIT`, `instances.json` or any other spec of `zip_keras.data.sources.open_dataset`.
        on_bad_object: what to do with an annotation that is no box; objects left out are neither missed nor counted.
            A COCO json's boxes without width or height are counted, and missed, as by pycocotools.
        pixels: what coordinates count, see `open_dataset`; a COCO json's are edges in any case.

    Raises:
        UserError: the data is missing or broken.
    """
    plain = spec.removeprefix("coco:")
    file = plain if plain.endswith(".json") else plain.partition(".json:")[0] + ".json"
    if (plain.endswith(".json") or ".json:" in plain) and not is_compound(spec):
        return read_instances(file, spec, skip_bad_objects=on_bad_object != "error")
    try:
        return from_dataset(open_dataset(spec, on_defect=on_bad_object, pixels=pixels, need_images=False))
    except UserError as error:
        hint = "; to measure without such objects: --on-bad-object=skip" if "--on-bad-box" in str(error) else ""
        raise UserError(f"{error}{hint}") from None
