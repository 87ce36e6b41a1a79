import itertools

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import PostprocessConfig
from zip_keras.models import postprocess as postprocess_module
from zip_keras.models.postprocess import multi_threshold, postprocess, vote
from zip_keras.ops.nms import ABSENT, greedy_keep, nms_mask

# --- oracles in plain Python, one box at a time, float32


def iou_of(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
    width = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
    shared = height * width
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else np.float32(0)


def greedy(boxes, numbers, threshold):
    """Numbers of `boxes` (given best first) that greedy NMS keeps."""
    kept = []
    for i in numbers:
        if all(iou_of(boxes[i], boxes[j]) <= np.float32(threshold) for j in kept):
            kept.append(i)
    return kept


def multi_threshold_list(boxes, thresholds, counts):
    """Multi-threshold NMS (AttractioNet), step by step; boxes best first."""
    first = greedy(boxes, range(len(boxes)), thresholds[0])[: counts[0]]  # 1
    kept = [first] + [greedy(boxes, first, threshold) for threshold in thresholds[1:]]  # 2
    chosen = kept[-1][: counts[-1]]  # 3
    for stage in reversed(range(len(thresholds) - 1)):  # 4
        for i in kept[stage]:
            if len(chosen) >= counts[stage]:
                break
            if i not in chosen:
                chosen.append(i)
    return chosen


def array(x):
    return ops.convert_to_numpy(x)


def crowded_boxes(rng, count, size=100.0, integer=False):
    """Boxes in a few heaps, so that IoUs of all sizes occur."""
    centres = rng.uniform(20, size - 20, (8, 2))[rng.integers(0, 8, count)] + rng.normal(0, 3, (count, 2))
    sides = rng.uniform(8, 30, (count, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    return (np.round(boxes) if integer else boxes).astype("float32")


def row(*lefts):
    """10 x 10 boxes in a row; a shift d between two gives the IoU (10 - d) / (10 + d)."""
    return np.array([[[0, x, 10, x + 10] for x in lefts]], "float32")


# --- by hand

# A and B overlap by 9/11 = .818, A and C by 7/13 = .538, B and C by 8/12 = .667, C and D by .538, A and D by .25,
# B and D by 1/3, E and F by .818
HEAP = row(0, 1, 3, 6, 30, 31)
HEAP_SCORES = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]], "float32")


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.9, "ABCDEF"), (0.8, "ACDE"), (0.6, "ACDE"), (0.5, "ADE"), (0.3, "ADE"), (0.2, "AE")],
)
def test_greedy_by_hand(threshold, kept):
    expected = [letter in kept for letter in "ABCDEF"]
    assert array(greedy_keep(HEAP, np.ones((1, 6), bool), threshold))[0].tolist() == expected
    assert array(nms_mask(HEAP, HEAP_SCORES, threshold, 6))[0].tolist() == expected


def test_a_box_at_the_threshold_stays():
    halves = np.array([[[0, 0, 10, 10], [0, 0, 10, 5]]], "float32")  # IoU exactly 1/2
    for keep in (
        greedy_keep(halves, np.ones((1, 2), bool), 0.5),
        nms_mask(halves, np.ones((1, 2), "float32"), 0.5, 2),
    ):
        assert array(keep)[0].tolist() == [True, True]


def test_limit_keeps_the_best():
    assert array(nms_mask(HEAP, HEAP_SCORES, 0.6, 2))[0].tolist() == [True, False, True, False, False, False]


def test_multi_threshold_by_hand():
    # S1 = ABCDEF, S2 = NMS .6 = ACDE, S3 = NMS .3 = ADE: two of S3, then to four from S2, then to six from S1
    config = PostprocessConfig(thresholds=(0.9, 0.6, 0.3), counts=(6, 4, 2), max_proposals=6)
    result = multi_threshold(HEAP, HEAP_SCORES, config)
    assert array(result.boxes)[0, :, 1].tolist() == [0, 6, 3, 30, 1, 31]  # A D C E B F
    np.testing.assert_allclose(array(result.scores)[0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert array(result.valid).all()


def test_a_shorter_list_is_the_beginning_of_the_longer():
    config = PostprocessConfig(thresholds=(0.9, 0.6, 0.3), counts=(6, 4, 2), max_proposals=3)
    result = multi_threshold(HEAP, HEAP_SCORES, config)
    assert array(result.boxes)[0, :, 1].tolist() == [0, 6, 3]
    np.testing.assert_allclose(array(result.scores)[0], [0.9, 0.7, 0.6])  # of A, C, D


def test_the_list_goes_on_where_a_threshold_leaves_too_few():
    # S2 = A alone, though its count is 2: the second place comes from S1
    config = PostprocessConfig(thresholds=(0.9, 0.5), counts=(3, 2), max_proposals=2)
    result = multi_threshold(row(0, 1, 2), np.array([[0.9, 0.8, 0.7]], "float32"), config)
    assert array(result.boxes)[0, :, 1].tolist() == [0, 1]
    assert array(result.valid).tolist() == [[True, True]]


# --- against the oracles


@pytest.mark.parametrize("seed", range(3))
def test_multi_threshold_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    boxes, scores = crowded_boxes(rng, 120), np.sort(rng.uniform(size=120).astype("float32"))[::-1]
    table = {"thresholds": (0.9, 0.8, 0.65, 0.55, 0.4), "counts": (100, 60, 30, 12, 5)}
    expected = multi_threshold_list(boxes, **table)
    for length in (7, 45, 100):
        config = PostprocessConfig(**table, max_proposals=length)
        result = multi_threshold(boxes[None], scores[None].copy(), config)
        wanted = expected[:length]
        np.testing.assert_array_equal(array(result.boxes)[0, : len(wanted)], boxes[wanted])
        np.testing.assert_array_equal(array(result.scores)[0, : len(wanted)], np.sort(scores[wanted])[::-1])
        assert array(result.valid)[0].tolist() == [True] * len(wanted) + [False] * (length - len(wanted))


@pytest.mark.parametrize("integer", [False, True], ids=["smooth", "grid"])
@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75])
def test_both_kernels_equal_the_oracle(threshold, integer):
    """Boxes on a grid of whole pixels meet a threshold exactly, and equal scores tie; the earlier box wins."""
    rng = np.random.default_rng(5)
    boxes = np.stack([crowded_boxes(rng, 80, integer=integer) for _ in range(2)])
    scores = -np.sort(-np.round(rng.uniform(0.1, 1, (2, 80)), 1).astype("float32"), axis=1)
    scores[1, 60:] = ABSENT
    generic = array(greedy_keep(boxes, scores > ABSENT / 2, threshold))
    fast = array(nms_mask(boxes, scores, threshold, 80))
    for i, count in enumerate((80, 60)):
        assert np.flatnonzero(generic[i]).tolist() == greedy(boxes[i], range(count), threshold)
    np.testing.assert_array_equal(fast, generic)


def test_a_long_chain_of_overlaps_settles():
    """Each box overlaps the next alone: every second one stays, decided one after the other."""
    chain = row(*range(0, 400, 4))  # neighbours overlap by 6/14, others by at most 2/18
    assert np.flatnonzero(array(greedy_keep(chain, np.ones((1, 100), bool), 0.4))[0]).tolist() == list(range(0, 100, 2))


# --- the whole way from levels to a list

CONFIG = PostprocessConfig(
    pre_nms_top_n=150,
    post_nms_top_n=60,
    thresholds=(0.9, 0.7, 0.5),
    counts=(120, 50, 20),
    max_proposals=80,
    min_size=2.0,
)
HEIGHT, WIDTH = 90.0, 95.0


def made_levels(rng, batch=2, counts=(200, 70, 9), digits=None):
    scores = [rng.uniform(0, 1, (batch, n)).astype("float32") for n in counts]
    if digits is not None:
        scores = [np.round(s, digits) for s in scores]
    return [np.stack([crowded_boxes(rng, n) for _ in range(batch)]) for n in counts], scores


@pytest.fixture
def generic(monkeypatch):
    """Runs the path of the other backends."""

    def run(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(keras.backend, "backend", lambda: "another")
            return postprocess(*arguments)

    return run


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with TensorFlow's kernels")
@pytest.mark.parametrize("digits", [None, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pre_nms_top_n": None},
        {"post_nms_top_n": 7},
        {"level_bias": (0.3, -0.2, 0.0)},
        {"level_bias": (-1.0, -1.2, -0.9)},
        {"nms_iou": 0.9},
        {"nms_iou": 0.9, "counts": (120, 9, 4), "max_proposals": 20, "level_bias": (0.3, -0.2, 0.0)},
        {"nms_iou": 0.95, "counts": (120, 9, 4), "max_proposals": 20, "pre_nms_top_n": None},
    ],
    ids=str,
)
def test_the_path_of_other_backends_gives_the_same_list(generic, changes, digits):
    config = PostprocessConfig(**{**vars(CONFIG), **changes})
    levels = made_levels(np.random.default_rng(6), digits=digits)
    assert_same(generic(*levels, HEIGHT, WIDTH, config), postprocess(*levels, HEIGHT, WIDTH, config))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends compare all boxes")
@pytest.mark.parametrize("spread", [40.0, 0.3], ids=["apart", "in one heap"])
def test_the_best_candidates_mostly_give_the_list(generic, monkeypatch, spread):
    """Where they do not, because too few of them survive, all candidates are ranked; the list is the same."""
    config = PostprocessConfig(
        nms_iou=0.9, post_nms_top_n=60, thresholds=(0.9, 0.7, 0.5), counts=(120, 9, 4), max_proposals=20
    )
    rng = np.random.default_rng(3)
    corners = [rng.normal(40, spread, (2, n, 2)) for n in (150, 70, 9)]
    boxes = [np.concatenate([corner, corner + 20], axis=-1).astype("float32") for corner in corners]
    levels = boxes, [rng.uniform(0, 1, x.shape[:2]).astype("float32") for x in boxes]
    expected = generic(*levels, 500, 500, config)
    assert_same(postprocess(*levels, 500, 500, config), expected)

    asked = []
    whole = postprocess_module.merge
    monkeypatch.setattr(
        postprocess_module, "merge", lambda candidates, config: asked.append(candidates) or whole(candidates, config)
    )
    postprocess(*levels, 500, 500, config)
    [rest] = asked
    survivors = int((array(rest.scores)[0] > ABSENT / 2).sum())
    assert survivors <= 3 if spread > 1 else survivors > 3


@pytest.mark.parametrize("path", ["fast", "generic"])
def test_ties_go_to_the_finer_level_and_earlier_place(path, request):
    find = postprocess if path == "fast" else request.getfixturevalue("generic")
    levels = [row(0, 20, 40), row(60), row(80, 1)], [np.full((1, n), 0.5, "float32") for n in (3, 1, 2)]
    result = find(*levels, 100, 100, PostprocessConfig(max_proposals=5))
    assert array(result.boxes)[0, :, 1].tolist() == [0, 20, 40, 60, 80]  # 1 is suppressed by 0


def test_levels_are_suppressed_apart_then_together():
    """Of three levels with the same boxes, one copy of each box is left after the last NMS."""
    level = HEAP[:, [0, 4]]
    config = PostprocessConfig(thresholds=(0.9, 0.5), counts=(6, 3), max_proposals=6)
    result = postprocess([level] * 3, [HEAP_SCORES[:, :2] - x for x in (0.2, 0.0, 0.1)], 100, 100, config)
    assert array(result.valid)[0].sum() == 2
    np.testing.assert_allclose(array(result.scores)[0, :2], [0.9, 0.8])


def test_a_box_keeps_the_level_of_its_group():
    config = PostprocessConfig(max_proposals=5)
    boxes = [row(0), row(30), row(60), row(0, 90)]
    scores = [np.array([s], "float32") for s in ([0.5], [0.6], [0.3], [0.4, 0.7])]
    result = postprocess(boxes, scores, 100, 100, config, levels=(1, 2, 3, 1))
    assert array(result.boxes)[0, :, 1].tolist() == [90, 30, 0, 60, 0]
    assert array(result.levels)[0].tolist() == [1, 2, 1, 3, 0]


def test_voting_by_hand():
    # of A B C, B (.818) and C (.538) overlap A; D (.25) does not vote at .5
    voted = array(vote(row(0, 6), HEAP[:, :4], np.array([[0.9, 0.8, 0.7, -1.0]], "float32"), 0.5))
    expected = (0.9 * 0 + 0.8 * 1 + 0.7 * 3) / (0.9 + 0.8 + 0.7)
    np.testing.assert_allclose(voted[0, 0], [0, expected, 10, expected + 10], rtol=1e-6)
    np.testing.assert_allclose(voted[0, 1], HEAP[0, 2], rtol=1e-6)  # C alone overlaps D; D itself has no vote
    nobody = array(vote(row(80), HEAP, HEAP_SCORES, 0.5))
    np.testing.assert_array_equal(nobody, row(80))


@pytest.mark.parametrize("path", ["fast", "generic"])
def test_voting_moves_boxes_and_nothing_else(path, request):
    find = postprocess if path == "fast" else request.getfixturevalue("generic")
    levels = made_levels(np.random.default_rng(13))
    plain = find(*levels, HEIGHT, WIDTH, CONFIG)
    voted = find(*levels, HEIGHT, WIDTH, PostprocessConfig(**{**vars(CONFIG), "vote_iou": 0.7}))
    assert_same(plain[1:], voted[1:])
    moved = np.abs(array(plain.boxes) - array(voted.boxes))
    assert 0.1 < moved.max() < 12


def test_level_bias_moves_scores_and_order():
    config = PostprocessConfig(level_bias=(0.0, 0.0, 0.5), max_proposals=3)
    levels = [row(0), row(30), row(60)], [np.array([[s]], "float32") for s in (0.5, 0.6, 0.3)]
    result = postprocess(*levels, 100, 100, config)
    assert array(result.boxes)[0, :, 1].tolist() == [60, 30, 0]
    np.testing.assert_allclose(array(result.scores)[0], [0.8, 0.6, 0.5])


def test_fewer_boxes_than_places():
    config = PostprocessConfig(max_proposals=5)  # pre_nms_top_n, post_nms_top_n, counts all larger than the levels
    result = postprocess(
        [row(0), row(30), row(60, 61)], [np.full((1, n), 0.5, "float32") for n in (1, 1, 2)], 50, 65, config
    )
    assert array(result.valid)[0].tolist() == [True, True, True, False, False]  # 61 is suppressed by 60
    assert array(result.boxes)[0, 3:].tolist() == [[0] * 4] * 2
    assert array(result.scores)[0, 3:].tolist() == [0, 0]


def test_boxes_are_clipped_and_small_ones_dropped():
    boxes = np.array(
        [[[-5, -5, 20, 20], [48, 10, 70, 30], [60, 60, 70, 70], [10, 10, 10.5, 40], [9, 9, 3, 3]]], "float32"
    )
    empty = np.array([[[0, 0, 0, 0]]], "float32"), np.array([[0.9]], "float32")
    config = PostprocessConfig(max_proposals=4, min_size=1.0)
    result = postprocess(
        [boxes, empty[0], empty[0]], [np.full((1, 5), 0.5, "float32"), empty[1], empty[1]], 50, 65, config
    )
    assert array(result.valid)[0].tolist() == [True, True, False, False]
    assert array(result.boxes)[0, :2].tolist() == [[0, 0, 20, 20], [48, 10, 50, 30]]


@pytest.mark.parametrize("path", ["fast", "generic"])
def test_what_every_list_holds(path, request):
    """Boxes inside the image, scores that decrease, no NaN, valid places first, whatever the network says."""
    rng = np.random.default_rng(7)
    boxes, scores = made_levels(rng, counts=(300, 40, 12))
    broken = [b.copy() for b in boxes], [s.copy() for s in scores]
    for level_boxes, level_scores in zip(*broken, strict=True):
        level_scores[:, ::5] = np.nan
        level_boxes[:, 1::7] = np.inf
        level_boxes[:, 2::7, 1] = -np.inf
        level_boxes[:, 3::7] *= 1e6
    find = postprocess if path == "fast" else request.getfixturevalue("generic")
    for result in (find(boxes, scores, HEIGHT, WIDTH, CONFIG), find(*broken, HEIGHT, WIDTH, CONFIG)):
        found, points, valid, _ = map(array, result)
        assert found.shape == (2, 80, 4)
        assert valid.sum(axis=1).min() > 20
        assert (np.diff(valid.astype(int), axis=1) <= 0).all()
        assert np.isfinite(points).all()
        assert (np.diff(points, axis=1) <= 0).all()
        assert (found >= 0).all()
        assert (found[..., 2] <= HEIGHT).all()
        assert (found[..., 3] <= WIDTH).all()
        assert ((found[..., 2:] - found[..., :2])[valid] >= CONFIG.min_size).all()


def test_a_broken_score_costs_nothing_but_its_box():
    boxes, scores = made_levels(np.random.default_rng(8))
    worse = [s.copy() for s in scores]
    worst = [s.copy() for s in scores]
    for broken, low in zip(worse, worst, strict=True):
        broken[:, 4::6], low[:, 4::6] = np.nan, ABSENT
    assert_same(postprocess(boxes, worse, HEIGHT, WIDTH, CONFIG), postprocess(boxes, worst, HEIGHT, WIDTH, CONFIG))


def test_all_scores_broken_gives_an_empty_list():
    boxes, scores = made_levels(np.random.default_rng(9))
    result = postprocess(boxes, [np.full_like(s, np.nan) for s in scores], HEIGHT, WIDTH, CONFIG)
    assert not array(result.valid).any()
    assert np.abs(array(result.boxes)).max() == np.abs(array(result.scores)).max() == 0


def test_a_batch_equals_its_images():
    boxes, scores = made_levels(np.random.default_rng(10), batch=3)
    whole = postprocess(boxes, scores, HEIGHT, WIDTH, CONFIG)
    for i in range(3):
        part = postprocess([b[i : i + 1] for b in boxes], [s[i : i + 1] for s in scores], HEIGHT, WIDTH, CONFIG)
        assert_same([x[i : i + 1] for x in map(array, whole)], part)


def test_order_of_the_boxes_does_not_matter():
    rng = np.random.default_rng(11)
    boxes, scores = made_levels(rng)
    orders = [rng.permutation(s.shape[1]) for s in scores]
    shuffled = (
        [b[:, o] for b, o in zip(boxes, orders, strict=True)],
        [s[:, o] for s, o in zip(scores, orders, strict=True)],
    )
    assert_same(postprocess(*shuffled, HEIGHT, WIDTH, CONFIG), postprocess(boxes, scores, HEIGHT, WIDTH, CONFIG))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces with TensorFlow")
def test_sizes_may_be_unknown_until_run_time():
    import tensorflow as tf

    traces = []
    levels = (
        tuple(tf.TensorSpec([None, None, 4]) for _ in range(3)),
        tuple(tf.TensorSpec([None, None]) for _ in range(3)),
    )

    @tf.function(input_signature=[*levels, tf.TensorSpec([]), tf.TensorSpec([])])
    def in_graph(boxes, scores, height, width):
        traces.append(boxes)
        return postprocess(boxes, scores, height, width, CONFIG)

    for counts, batch in itertools.product(((200, 70, 9), (31, 7, 1)), (1, 2)):
        boxes, scores = made_levels(np.random.default_rng(12), batch, counts)
        assert_same(
            in_graph(tuple(boxes), tuple(scores), HEIGHT, WIDTH), postprocess(boxes, scores, HEIGHT, WIDTH, CONFIG)
        )
    assert len(traces) == 1
