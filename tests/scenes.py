"""Ground truth and proposals for tests, small enough to work out by hand."""

import dataclasses
import json

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.predictions.container import Predictions


def ground_truth(images, *, crowd=(), difficult=(), areas=None, classes=None, size=(1000, 1000), names=("thing",)):
    """`images`: {image_id: [[x, y, width, height], ...]}; `crowd`, `difficult`: row numbers over all images."""
    rows = [box for boxes in images.values() for box in boxes]
    xywh = np.array(rows, np.float64).reshape(-1, 4)
    return GroundTruth(
        spec="scene",
        class_names=tuple(names),
        category_ids=tuple(range(1, len(names) + 1)),
        image_ids=tuple(images),
        sizes=np.tile(np.array(size, np.float64), (len(images), 1)),
        starts=np.cumsum([0, *map(len, images.values())]),
        xywh=xywh,
        areas=xywh[:, 2] * xywh[:, 3] if areas is None else np.array(areas, np.float64),
        classes=np.zeros(len(rows), np.int32) if classes is None else np.array(classes, np.int32),
        crowd=np.isin(np.arange(len(rows)), crowd),
        difficult=np.isin(np.arange(len(rows)), difficult),
    )


def proposals(images, name="scene.json"):
    """`images`: {image_id: [([x, y, width, height], score), ...]}."""
    result = Predictions(name)
    for image_id, rows in images.items():
        result.add_xywh(image_id, [box for box, _ in rows], [score for _, score in rows])
    return result


def random_pair(seed, images=20, objects=6, boxes=60):
    """Objects and proposals that overlap in every degree, on a grid coarse enough for equal overlaps and scores."""
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for image_id in range(images):
        some = [rng.integers(1, 12, 4) * 16.0 for _ in range(rng.integers(0, objects + 1))]
        truth[image_id] = [box.tolist() for box in some]
        near = [box + rng.integers(-2, 3, 4) * 4.0 for box in some for _ in range(boxes // max(1, len(some)))]
        far = list(rng.integers(1, 12, (boxes // 3, 4)) * 16.0)
        rows = [box for box in [*near, *far] if box[2:].min() > 0] if rng.random() > 0.1 else []
        found[image_id] = [(box.tolist(), float(rng.integers(0, 20)) / 20) for box in rows]
    total = sum(map(len, truth.values()))
    flags = rng.random(total)
    return (
        ground_truth(truth, crowd=np.flatnonzero(flags < 0.1), difficult=np.flatnonzero(flags > 0.85)),
        proposals(found),
    )


def random_detections(seed, images=20, names=("cat", "dog", "cow"), ignored=True, tied=True):
    """As `random_pair`, with classes: half of the detections have their object's; areas are not the boxes'.

    Without `tied` no two scores or overlaps are equal; without `ignored` every object counts.
    """
    truth, found = random_pair(seed, images)
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, len(names), len(truth.classes)).astype(np.int32)
    none = np.zeros_like(truth.crowd)
    truth = dataclasses.replace(
        truth,
        class_names=tuple(names),
        category_ids=tuple(range(2 * len(names) + 1, 1, -2)),  # not in order, and not from 1
        classes=classes,
        xywh=truth.xywh + (0 if tied else rng.uniform(0, 3, truth.xywh.shape)),
        areas=truth.areas * rng.uniform(0.02, 2, len(truth.areas)),
        **({} if ignored else {"crowd": none, "difficult": none}),
    )
    detections = Predictions()
    for part in found:
        scores = part.scores if tied else rng.permutation(len(part)) / 100 + rng.random(len(part)) / 1000
        categories = rng.choice([*truth.category_ids, *([4] if ignored else [])], len(part))
        detections.add_xywh(part.image_id, part.xywh, scores, categories)
    return truth, detections


def write_coco(path, truth: GroundTruth):
    """Writes the scene as a COCO instances file and returns its path."""
    annotations = [
        {
            "id": row + 1,
            "image_id": truth.image_ids[truth.image_of[row]],
            "category_id": truth.category_ids[truth.classes[row]],
            "bbox": truth.xywh[row].tolist(),
            "area": float(truth.areas[row]),
            "iscrowd": int(truth.crowd[row]),
            "difficult": int(truth.difficult[row]),
        }
        for row in range(len(truth.xywh))
    ]
    images = [
        {"id": image_id, "file_name": f"{image_id}.jpg", "height": int(size[0]), "width": int(size[1])}
        for image_id, size in zip(truth.image_ids, truth.sizes, strict=True)
    ]
    categories = [{"id": i, "name": n} for i, n in zip(truth.category_ids, truth.class_names, strict=True)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return str(path)
