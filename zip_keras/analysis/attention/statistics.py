"""Map attention of an image, and statistics of mu over images.

Paper section 3.2 and Figure 4: X(m) = concat[F(m), H(m)], Y(m)_j = mu(m)_j * X(m)_j.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.predictions.container import ImageId

STREAMS = ("F", "H")  # zoom-out and zoom-in maps
_EQUAL = 1e-6  # relative tolerance for equality of float32 numbers


@dataclass(frozen=True)
class LevelAttention:
    """The decision of one level on one image. The first half of the maps is F (zoom-out), the second H (zoom-in).

    Attributes:
        before: float32 `[h, w, 2C]`, X = concat[F, H].
        mu: float32 `[2C]`.
        after: float32 `[h, w, 2C]`, Y = mu * X.
    """

    before: np.ndarray
    mu: np.ndarray
    after: np.ndarray

    def channels(self, stream: str) -> range:
        """The channels of stream "F" or "H"."""
        half = len(self.mu) // 2
        return {"F": range(half), "H": range(half, 2 * half)}[stream]

    def ranked(self, stream: str) -> np.ndarray:
        """The channels of a stream by decreasing mu: int64 `[C]`. Ties keep their order."""
        channels = np.array(self.channels(stream))
        return channels[np.argsort(-self.mu[channels], kind="stable")]


@dataclass(frozen=True)
class MapDecisions:
    """The mu vectors of several images.

    Attributes:
        image_ids: ids of the I images.
        mu: float32 `[I, C]` for each level and stream, fine to coarse: `{(1, "F"), (1, "H"), (2, "F"), (2, "H")}`.
    """

    image_ids: tuple[ImageId, ...]
    mu: dict[tuple[int, str], np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays for an npz file: `image_ids [I]` as strings, and `level_1_F [I, C]`, `level_1_H`, ..."""
        named = {f"level_{level}_{stream}": values for (level, stream), values in self.mu.items()}
        return {"image_ids": np.array([str(i) for i in self.image_ids]), **named}


@dataclass(frozen=True)
class DecisionSpread:
    """Variation of mu vectors `[I, C]` over maps and images.

    Attributes:
        mean, lowest, highest: over maps and images.
        between_maps: standard deviation over the maps of their means over the images.
        between_images: root mean square over the maps of their standard deviation over the images.
        share_between_images: fraction of the total variance that is between images; the rest is between maps and the
            same for every image. NaN if all mu are equal.
        correlation: mean correlation coefficient of the vectors over all pairs of images; 1 means that all images have
            the same pattern. NaN for one image, or if an image has the same mu for all maps.
    """

    mean: float
    lowest: float
    highest: float
    between_maps: float
    between_images: float
    share_between_images: float
    correlation: float


def spread(mu: np.ndarray) -> DecisionSpread:
    """Summarize mu vectors `[I, C]` of I images; I and C must be at least 1."""
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
    """Stack the vectors `[C]` of at least one image."""
    keys = decisions[0][1]
    return MapDecisions(
        tuple(image_id for image_id, _ in decisions), {key: np.stack([mu[key] for _, mu in decisions]) for key in keys}
    )


def _mean_correlation(vectors: np.ndarray) -> float:
    """Mean correlation over all pairs of rows. For unit vectors z, |sum z|^2 = I + the sum over ordered pairs."""
    images = len(vectors)
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if images < 2 or (lengths <= _EQUAL * np.linalg.norm(vectors, axis=1, keepdims=True)).any():
        return float("nan")
    total = np.square((centred / lengths).sum(axis=0)).sum()
    return float((total - images) / (images * (images - 1)))
