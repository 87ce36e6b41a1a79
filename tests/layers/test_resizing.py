import numpy as np
import pytest
from keras import ops

from zip_keras.layers.resizing import ShortSideResizing, resized_sides


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (600, 800)),
        ((500, 375), (800, 600)),
        ((300, 1000), (300, 1000)),  # the long side is capped
        ((1200, 4000), (300, 1000)),
        ((600, 600), (600, 600)),
        ((1, 5000), (1, 1000)),  # never less than a pixel
    ],
)
def test_sides_by_hand(size, expected):
    assert resized_sides(*size, 600, 1000) == expected


def test_sides_of_a_graph_equal_those_of_numbers():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 3000, (300, 2)):
        tensors = resized_sides(ops.convert_to_tensor(height), ops.convert_to_tensor(width), 600, 1000)
        assert tuple(int(side) for side in tensors) == resized_sides(int(height), int(width), 600, 1000)


def test_resizes_any_dtype_to_float32_and_keeps_the_mean():
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8)
    for short_side, size in ((20, (20, 30)), (80, (80, 120))):
        result = ops.convert_to_numpy(ShortSideResizing(short_side, 1000)(images))
        assert result.shape == (2, *size, 3)
        assert result.dtype == np.float32
        assert abs(result.mean() - images.mean()) < 2
    kept = ops.convert_to_numpy(ShortSideResizing(None)(images))
    np.testing.assert_array_equal(kept, images.astype("float32"))


def test_halving_averages():
    """Antialiased: a checkerboard becomes gray instead of one of its colours."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255.0
    images = np.repeat(board[None, :, :, None], 3, axis=-1).astype("float32")
    result = ops.convert_to_numpy(ShortSideResizing(32, 1000)(images))[0, 4:-4, 4:-4]
    np.testing.assert_allclose(result, 127.5, atol=1)
