"""What map attention decides on an image, and how its decisions differ between images.

Paper section 3.2 and Figure 4: X(m) = concat[F(m), H(m)], Y(m)_j = mu(m)_j * X(m)_j.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.predictions.container import ImageId

STREAMS = ("F", "H")  # zoom-out and zoom-in maps
_EQUAL = 1e-6  # relative difference up to which numbers of float32 are one


@dataclass(frozen=True)
class LevelAttention:
    """The decision of one level on one image; the first half of the maps is F (zoom-out), the second H (zoom-in).

    Attributes:
        before: float32 `[h, w, 2C]`, X = concat[F, H].
        mu: float32 `[2C]`.
        after: float32 `[h, w, 2C]`, Y = mu * X.
    """

    before: np.ndarray
    mu: np.ndarray
    after: np.ndarray

    def channels(self, stream: str) -> range:
        """The channels of "F" or of "H"."""
        half = len(self.mu) // 2
        return {"F": range(half), "H": range(half, 2 * half)}[stream]

    def ranked(self, stream: str) -> np.ndarray:
        """int64 `[C]`: the channels of a stream, from the greatest mu to the smallest; equal ones as they come."""
        channels = np.array(self.channels(stream))
        return channels[np.argsort(-self.mu[channels], kind="stable")]


@dataclass(frozen=True)
class MapDecisions:
    """The mu vectors of images.

    Attributes:
        image_ids: I of them.
        mu: float32 `[I, C]` for each level and stream, fine to coarse: `{(1, "F"), (1, "H"), (2, "F"), (2, "H")}`.
    """

    image_ids: tuple[ImageId, ...]
    mu: dict[tuple[int, str], np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """The content of an npz file: `image_ids [I]` as texts, and `level_1_F [I, C]`, `level_1_H`, ..."""
        named = {f"level_{level}_{stream}": values for (level, stream), values in self.mu.items()}
        return {"image_ids": np.array([str(i) for i in self.image_ids]), **named}


@dataclass(frozen=True)
class DecisionSpread:
    """How a set of mu vectors `[I, C]` is spread over maps and over images.

    Attributes:
        mean, lowest, highest: over maps and images.
        between_maps: standard deviation over the maps of their means over the images.
        between_images: root mean square, over the maps, of a map's standard deviation over the images.
        share_between_images: of the variance over maps and images together, what differs between images; the rest is
            the same on every image. NaN where all mu are equal.
        correlation: mean correlation coefficient of the vectors of two images, over all pairs; 1: every image decides
            alike. NaN for one image, or where an image gives all maps the same mu.
    """

    mean: float
    lowest: float
    highest: float
    between_maps: float
    between_images: float
    share_between_images: float
    correlation: float


def spread(mu: np.ndarray) -> DecisionSpread:
    """Summarises mu vectors `[I, C]` of I images, at least one of each."""
    mu = np.asarray(mu, np.float64)
    within_map, of_means = float(mu.var(axis=0).mean()), float(mu.mean(axis=0).var())
    total = within_map + of_means  # the law of total variance
    equal = total <= (_EQUAL * np.abs(mu).max()) ** 2
    return DecisionSpread(
        mean=float(mu.mean()),
        lowest=float(mu.min()),
        highest=float(mu.max()),
        between_maps=of_means**0.5,
        between_images=within_map**0.5,
        share_between_images=float("nan") if equal else within_map / total,
        correlation=_mean_correlation(mu),
    )


def gather_decisions(decisions: Sequence[tuple[ImageId, dict[tuple[int, str], np.ndarray]]]) -> MapDecisions:
    """Puts the vectors `[C]` of images together, at least one image."""
    keys = decisions[0][1]
    return MapDecisions(
        tuple(image_id for image_id, _ in decisions), {key: np.stack([mu[key] for _, mu in decisions]) for key in keys}
    )


def _mean_correlation(vectors: np.ndarray) -> float:
    """Mean over the pairs of rows: of unit vectors z, |sum z|^2 = I + the sum over ordered pairs."""
    images = len(vectors)
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if images < 2 or (lengths <= _EQUAL * np.linalg.norm(vectors, axis=1, keepdims=True)).any():
        return float("nan")
    total = np.square((centred / lengths).sum(axis=0)).sum()
    return float((total - images) / (images * (images - 1)))
