"""Box geometry. A box is `[y1, x1, y2, x2]` in absolute pixels, float32, continuous coordinates, `y1 < y2`, `x1 < x2`.

All functions work on any `keras.ops` tensor or NumPy array, with any leading dimensions.
"""

import math

from keras import ops

# Bound of the deltas of log height and width: sides are at most 1000/16 times those of the anchor (as in Detectron).
LOG_SIZE_LIMIT = math.log(1000.0 / 16.0)
CENTRE_LIMIT = 4.0  # bound of the centre deltas in `limit`, in anchor sides


def area(boxes):
    """`[..., 4]` -> `[...]`, square pixels; 0 for empty or inverted boxes."""
    y1, x1, y2, x2 = ops.split(boxes, 4, axis=-1)
    return ops.squeeze(ops.maximum(y2 - y1, 0.0) * ops.maximum(x2 - x1, 0.0), axis=-1)


def intersection(first, second):
    """Intersection areas of all pairs: `[..., N, 4]`, `[..., M, 4]` -> `[..., N, M]`, square pixels."""
    y1, x1, y2, x2 = ops.split(first, 4, axis=-1)  # [..., N, 1] each
    v1, u1, v2, u2 = ops.split(ops.swapaxes(second, -1, -2), 4, axis=-2)  # [..., 1, M] each
    height = ops.maximum(ops.minimum(y2, v2) - ops.maximum(y1, v1), 0.0)
    width = ops.maximum(ops.minimum(x2, u2) - ops.maximum(x1, u1), 0.0)
    return height * width


def iou(first, second):
    """Intersection over union of all pairs: `[..., N, 4]`, `[..., M, 4]` -> `[..., N, M]`; 0 where both are empty."""
    shared = intersection(first, second)
    union = ops.expand_dims(area(first), -1) + ops.expand_dims(area(second), -2) - shared
    return shared / ops.maximum(union, 1e-8)


def generalized_iou(first, second):
    """Generalised IoU of paired boxes: `[..., 4]`, `[..., 4]` -> `[...]`, from -1 (far apart) to 1 (equal).

    It is the IoU minus the share of the smallest enclosing box that neither box covers, so disjoint boxes have a
    gradient. Rezatofighi et al., arXiv 1902.09630. The two boxes must not both be empty at the same point.
    """
    y1, x1, y2, x2 = ops.split(first, 4, axis=-1)
    v1, u1, v2, u2 = ops.split(second, 4, axis=-1)
    height = ops.maximum(ops.minimum(y2, v2) - ops.maximum(y1, v1), 0.0)
    width = ops.maximum(ops.minimum(x2, u2) - ops.maximum(x1, u1), 0.0)
    shared = ops.squeeze(height * width, axis=-1)
    union = area(first) + area(second) - shared
    around_height = ops.maximum(y2, v2) - ops.minimum(y1, v1)
    around = ops.squeeze(around_height * (ops.maximum(x2, u2) - ops.minimum(x1, u1)), axis=-1)
    return shared / ops.maximum(union, 1e-8) - (around - union) / ops.maximum(around, 1e-8)


def paired_iou(first, second):
    """Intersection over union of paired boxes: `[..., 4]`, `[..., 4]` -> `[...]`; 0 where both are empty."""
    y1, x1, y2, x2 = ops.split(first, 4, axis=-1)
    v1, u1, v2, u2 = ops.split(second, 4, axis=-1)
    height = ops.maximum(ops.minimum(y2, v2) - ops.maximum(y1, v1), 0.0)
    width = ops.maximum(ops.minimum(x2, u2) - ops.maximum(x1, u1), 0.0)
    shared = ops.squeeze(height * width, axis=-1)
    return shared / ops.maximum(area(first) + area(second) - shared, 1e-8)


def clip(boxes, height, width):
    """Clip boxes `[..., 4]` to an image of `height` x `width` pixels (numbers or scalar tensors)."""
    y1, x1, y2, x2 = ops.split(boxes, 4, axis=-1)
    return ops.concatenate(
        [ops.clip(y1, 0.0, height), ops.clip(x1, 0.0, width), ops.clip(y2, 0.0, height), ops.clip(x2, 0.0, width)],
        axis=-1,
    )


def encode(boxes, anchors):
    """Encode boxes as deltas from anchors, as in Faster R-CNN.

    Args:
        boxes, anchors: `[..., 4]`, broadcastable; anchors have a positive size. Empty boxes get sides of 0.001.

    Returns:
        `[..., 4]`: `(dy / anchor height, dx / anchor width, log(h / anchor h), log(w / anchor w))`.
    """
    cy, cx, h, w = _centre_form(boxes)
    ay, ax, ah, aw = _centre_form(anchors)
    h, w = ops.maximum(h, 1e-3), ops.maximum(w, 1e-3)
    return ops.concatenate([(cy - ay) / ah, (cx - ax) / aw, ops.log(h / ah), ops.log(w / aw)], axis=-1)


def decode(deltas, anchors):
    """Apply `deltas` `[..., 4]` to `anchors` `[..., 4]`: boxes `[..., 4]`. The inverse of `encode`."""
    ty, tx, th, tw = ops.split(deltas, 4, axis=-1)
    ay, ax, ah, aw = _centre_form(anchors)
    cy, cx = ay + ty * ah, ax + tx * aw
    h = ah * ops.exp(ops.minimum(th, LOG_SIZE_LIMIT))
    w = aw * ops.exp(ops.minimum(tw, LOG_SIZE_LIMIT))
    return ops.concatenate([cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2], axis=-1)


def compose(first, second):
    """Compose deltas `[..., 4]`: `first` from the anchors, then `second` from the resulting boxes.

    `decode(compose(first, second), anchors) == decode(second, decode(first, anchors))`, within the bound on sizes.
    """
    ty, tx, th, tw = ops.split(first, 4, axis=-1)
    dy, dx, dh, dw = ops.split(second, 4, axis=-1)
    return ops.concatenate([ty + dy * ops.exp(th), tx + dx * ops.exp(tw), th + dh, tw + dw], axis=-1)


def limit(deltas):
    """Clip deltas `[..., 4]`, so that boxes stay near their anchor in place and size after any number of compositions.

    Centres are at most `CENTRE_LIMIT` anchor sides away, and sides at most 1000/16 times larger or smaller.
    """
    centres, sizes = ops.split(deltas, 2, axis=-1)
    return ops.concatenate(
        [ops.clip(centres, -CENTRE_LIMIT, CENTRE_LIMIT), ops.clip(sizes, -LOG_SIZE_LIMIT, LOG_SIZE_LIMIT)], axis=-1
    )


def _centre_form(boxes):
    y1, x1, y2, x2 = ops.split(boxes, 4, axis=-1)
    return (y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1


def mirrored(boxes, width):
    """Mirror boxes `[..., 4]` horizontally in an image of `width` pixels, a float32 scalar. It is its own inverse."""
    zero = ops.zeros_like(width)
    return ops.stack([zero, width, zero, width]) + ops.take(boxes, (0, 3, 2, 1), axis=-1) * ops.stack(
        [1.0, -1.0, 1.0, -1.0]
    )
