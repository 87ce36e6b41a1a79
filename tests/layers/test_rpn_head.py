import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.layers.rpn_head import RefiningRPNHead, RPNHead


def test_order_is_row_column_anchor():
    """Scores and deltas of a place are those that the 1x1 convolutions give it, anchor by anchor."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    head = RPNHead(num_anchors=10, num_classes=3, channels=8)
    logits, deltas = map(ops.convert_to_numpy, head(x))
    hidden = head.convolution(x)
    scores, moves = ops.convert_to_numpy(head.score(hidden)), ops.convert_to_numpy(head.deltas(hidden))
    assert (logits.shape, deltas.shape) == ((2, 120, 3), (2, 120, 4))
    for row, column, anchor in ((0, 0, 0), (2, 1, 7), (1, 3, 9)):
        place = (row * 4 + column) * 10 + anchor
        np.testing.assert_array_equal(logits[1, place], scores[1, row, column, 3 * anchor : 3 * anchor + 3])
        np.testing.assert_array_equal(deltas[1, place], moves[1, row, column, 4 * anchor : 4 * anchor + 4])


def test_starts_gaussian():
    head = RPNHead(num_anchors=10, num_classes=3, channels=128)
    head.build((None, None, None, 64))
    for layer in (head.convolution, head.score, head.deltas):
        kernel = ops.convert_to_numpy(layer.kernel)
        assert kernel.std() == pytest.approx(0.01, rel=0.1)
        assert abs(kernel.mean()) < 1e-3
        assert not ops.convert_to_numpy(layer.bias).any()


def test_the_paper_has_512_channels():
    head = RPNHead(num_anchors=10, num_classes=3)
    head.build((None, None, None, 64))
    assert head.count_params() == (64 * 9 + 1) * 512 + 513 * 30 + 513 * 40


def test_a_step_knows_the_boxes_of_its_cell_alone():
    rng = np.random.default_rng(1)
    head = RefiningRPNHead(num_anchors=2, num_classes=3, channels=8, steps=1)
    head.build((None, None, None, 6))
    for layer in (head.refined_score, head.refined_deltas):
        layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    hidden, starts = rng.uniform(size=(1, 3, 4, 8)).astype("float32"), np.zeros((1, 24, 4), "float32")
    before = head.refine(hidden, starts)
    starts[0, (2 * 4 + 1) * 2 + 1] = [0.3, -0.2, 0.5, 0.1]  # row 2, column 1, second anchor
    after = head.refine(hidden, starts)
    for one, other in zip(before, after, strict=True):
        differs = np.abs(ops.convert_to_numpy(one - other)).max(axis=-1)[0] > 1e-6
        assert set(np.flatnonzero(differs)) == {18, 19}  # both anchors of the cell


def test_a_recursive_head_answers_at_first_as_a_plain_one():
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 6)).astype("float32")
    plain, head = RPNHead(10, 3, channels=8), RefiningRPNHead(10, 3, channels=8, steps=3)
    logits, deltas, _, steps = head(x)
    plain.build(x.shape)
    for name in ("convolution", "score", "deltas"):
        getattr(plain, name).set_weights(getattr(head, name).get_weights())
    for one, other in zip((logits, deltas), plain(x), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    assert len(steps) == 3
    assert head.count_params() == plain.count_params() + (8 + 40 + 1) * 8 + 9 * 30 + 9 * 40


def test_quality_is_a_third_output_in_the_same_order():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    head = RPNHead(num_anchors=10, num_classes=3, channels=8, quality=True)
    logits, deltas, quality = map(ops.convert_to_numpy, head(x))
    assert (logits.shape, deltas.shape, quality.shape) == ((2, 120, 3), (2, 120, 4), (2, 120))
    of_cells = ops.convert_to_numpy(head.iou(head.convolution(x)))
    assert quality[1, (2 * 4 + 1) * 10 + 7] == of_cells[1, 2, 1, 7]
    assert abs(quality + 4).max() < 1  # a fresh head calls nearly nothing good
    copy = RPNHead.from_config(head.get_config())
    assert len(copy(x)) == 3
    assert [spec.shape for spec in copy.compute_output_spec(keras.KerasTensor((2, 3, 4, 6)))] == [
        (2, 120, 3),
        (2, 120, 4),
        (2, 120),
    ]
