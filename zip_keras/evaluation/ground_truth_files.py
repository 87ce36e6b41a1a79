"""Ground truth from files: COCO JSON in its own double precision, all other datasets through `open_dataset`."""

from typing import Literal

from zip_keras.data.annotations import PixelConvention
from zip_keras.data.sources import is_compound, open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.coco_instances import read_instances
from zip_keras.evaluation.ground_truth import GroundTruth, from_dataset


def read_ground_truth(
    spec: str, on_bad_object: Literal["error", "skip", "clip"] = "error", pixels: PixelConvention = "continuous"
) -> GroundTruth:
    """Read the objects of a dataset spec; image files are not needed for a COCO JSON file.

    A COCO JSON file is not read through `open_dataset`, because records hold float32 corners and protocol `coco` is
    defined on the double-precision numbers of the file.

    Args:
        spec: `DEVKIT:SPLIT`, `instances.json` or any other spec of `zip_keras.data.sources.open_dataset`.
        on_bad_object: policy for invalid boxes; skipped objects are not part of the ground truth. Boxes of a COCO JSON
            file without width or height are kept as objects that are always missed, as in pycocotools.
        pixels: meaning of the coordinates, see `open_dataset`; those of a COCO JSON file are always edges.

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
