import numpy as np
import pytest
from keras import ops

from zip_keras.layers.heads import ProposalHead


def test_order_is_row_column_anchor():
    """Scores and offsets of a place are those that the 1x1 convolutions give it, anchor by anchor."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    head = ProposalHead(anchors=10, classes=3, channels=8)
    logits, offsets = map(ops.convert_to_numpy, head(x))
    hidden = head.convolution(x)
    scores, moves = ops.convert_to_numpy(head.score(hidden)), ops.convert_to_numpy(head.offset(hidden))
    assert (logits.shape, offsets.shape) == ((2, 120, 3), (2, 120, 4))
    for row, column, anchor in ((0, 0, 0), (2, 1, 7), (1, 3, 9)):
        place = (row * 4 + column) * 10 + anchor
        np.testing.assert_array_equal(logits[1, place], scores[1, row, column, 3 * anchor : 3 * anchor + 3])
        np.testing.assert_array_equal(offsets[1, place], moves[1, row, column, 4 * anchor : 4 * anchor + 4])


def test_starts_gaussian():
    head = ProposalHead(anchors=10, classes=3, channels=128)
    head.build((None, None, None, 64))
    for layer in (head.convolution, head.score, head.offset):
        kernel = ops.convert_to_numpy(layer.kernel)
        assert kernel.std() == pytest.approx(0.01, rel=0.1)
        assert abs(kernel.mean()) < 1e-3
        assert not ops.convert_to_numpy(layer.bias).any()


def test_the_paper_has_512_channels():
    head = ProposalHead(anchors=10, classes=3)
    head.build((None, None, None, 64))
    assert head.count_params() == (64 * 9 + 1) * 512 + 513 * 30 + 513 * 40
