import numpy as np
import pytest
from keras import ops

from zip_keras.config import TargetConfig
from zip_keras.targets.matching import BACKGROUND, GRAY, IGNORED, OBJECT, assign
from zip_keras.targets.sampling import random_numbers, sample

# Anchors of width w and height 100 inside a 100 x 100 object have IoU w / 100.
OBJECT_BOX = [0, 0, 100, 100]


def array(x):
    return ops.convert_to_numpy(x)


def targets(boxes, *, difficult=(), crowd=(), padding=(), size=(100, 100)):
    """One image's targets; `difficult`, `crowd`, `padding` are numbers of boxes."""
    flags = {name: [[i in chosen for i in range(len(boxes))]] for name, chosen in (("d", difficult), ("c", crowd))}
    return {
        "boxes": np.array([boxes], "float32"),
        "classes": np.array([[-1 if i in padding else 3 for i in range(len(boxes))]], "int32"),
        "difficult": np.array(flags["d"]),
        "crowd": np.array(flags["c"]),
        "size": np.array([size], "float32"),
    }


def labels_of(anchors, *arguments, gray=True, config=TargetConfig(), **options):  # noqa: B008
    result = assign(np.array(anchors, "float32"), targets(*arguments, **options), config, gray=gray)
    return array(result.labels)[0].tolist()


def strip(width):
    return [0, 0, 100, width]


EDGES = [24, 25, 34, 35, 55, 56, 59, 60, 100]


def test_labels_at_the_edges_of_the_paper():
    expected = [BACKGROUND, IGNORED, IGNORED, GRAY, GRAY, IGNORED, IGNORED, OBJECT, OBJECT]
    assert labels_of([strip(w) for w in EDGES], [OBJECT_BOX]) == expected


def test_without_a_gray_class_its_range_is_ignored():
    expected = [BACKGROUND] + [IGNORED] * 6 + [OBJECT] * 2
    assert labels_of([strip(w) for w in EDGES], [OBJECT_BOX], gray=False) == expected


def test_labels_of_the_released_code():
    released = TargetConfig(gray_iou=(0.25, 0.49), negative_iou=0.15, ignore_untouched=True)
    anchors = [strip(w) for w in (14, 15, 24, 25, 49, 50)] + [[0, 200, 50, 250]]  # the last touches nothing
    expected = [BACKGROUND, IGNORED, IGNORED, GRAY, GRAY, IGNORED, IGNORED]
    assert labels_of(anchors, [OBJECT_BOX], config=released, size=(300, 300)) == expected


def test_an_anchor_without_overlap_is_background():
    assert labels_of([[0, 200, 50, 250]], [OBJECT_BOX], size=(300, 300)) == [BACKGROUND]


def test_matches_are_the_best_boxes():
    boxes = [[0, 0, 10, 10], [0, 20, 10, 30], [0, 0, 0, 0]]
    anchors = np.array([[0, 21, 10, 31], [0, 1, 10, 11], [0, 8, 10, 24]], "float32")
    result = assign(anchors, targets(boxes, padding=[2]), TargetConfig(), gray=True)
    assert array(result.matches)[0].tolist() == [1, 0, 1]  # the last: 2 columns of box 0, 4 of box 1


def test_padding_is_no_object():
    assert labels_of([strip(100)], [OBJECT_BOX], padding=[0]) == [BACKGROUND]


def test_an_image_without_objects_is_all_background():
    anchors = [strip(w) for w in EDGES]
    assert labels_of(anchors, [[0, 0, 0, 0]] * 8, padding=range(8)) == [BACKGROUND] * len(EDGES)
    untouched = TargetConfig(ignore_untouched=True)
    assert labels_of(anchors, [[0, 0, 0, 0]] * 8, padding=range(8), config=untouched) == [BACKGROUND] * len(EDGES)
    crowd_alone = labels_of(
        [[0, 0, 50, 50], [0, 200, 50, 250]], [OBJECT_BOX], crowd=[0], size=(300, 300), config=untouched
    )
    assert crowd_alone == [IGNORED, BACKGROUND]


def test_more_padding_changes_nothing():
    anchors = [strip(w) for w in EDGES]
    assert labels_of(anchors, [OBJECT_BOX] + [[0] * 4] * 9, padding=range(1, 10)) == labels_of(anchors, [OBJECT_BOX])


def test_around_a_difficult_object_nothing_is_learnt():
    # IoU .24 is too little to be near it; what is near is neither object, gray nor background
    anchors = [strip(w) for w in (24, 25, 40, 60, 100)]
    assert labels_of(anchors, [OBJECT_BOX], difficult=[0]) == [BACKGROUND] + [IGNORED] * 4


def test_inside_a_crowd_nothing_is_learnt():
    # small anchors: IoU with the crowd is near 0, the share inside it counts
    anchors = [[0, 0, 10, 10], [0, 95, 10, 105], [0, 96, 10, 106]]  # inside by 100, 50 and 40 %
    assert labels_of(anchors, [OBJECT_BOX], crowd=[0], size=(300, 300)) == [IGNORED, IGNORED, BACKGROUND]


@pytest.mark.parametrize("kind", ["difficult", "crowd"])
def test_an_object_beside_a_set_aside_one_is_still_learnt(kind):
    boxes = [OBJECT_BOX, [0, 0, 100, 90]]
    assert labels_of([strip(90), strip(60)], boxes, **{kind: [0]}) == [OBJECT, OBJECT]
    assert labels_of([strip(40)], boxes, **{kind: [0]}) == [IGNORED]  # gray, were it not for the other


def test_an_anchor_centred_in_the_padding_is_ignored():
    anchors = [strip(100), [0, 0, 100, 98]]  # centres at x = 50 and 49
    assert labels_of(anchors, [OBJECT_BOX], size=(100, 50)) == [IGNORED, OBJECT]
    assert labels_of(anchors, [OBJECT_BOX], size=(50, 100)) == [IGNORED, IGNORED]  # y = 50 is outside too


def test_best_anchor_of_an_object_is_positive_on_request():
    anchors = [strip(20), strip(10), [0, 200, 100, 210]]
    best = TargetConfig(best_anchor_positive=True)
    assert labels_of(anchors, [OBJECT_BOX], size=(300, 300), config=best) == [OBJECT, BACKGROUND, BACKGROUND]
    # of an object that no anchor touches, or of padding, there is no best anchor
    assert labels_of(anchors, [[250, 250, 260, 260]], size=(300, 300), config=best) == [BACKGROUND] * 3
    assert labels_of(anchors, [OBJECT_BOX], padding=[0], size=(300, 300), config=best) == [BACKGROUND] * 3


def test_best_anchor_is_one_on_the_image():
    best = TargetConfig(best_anchor_positive=True)
    assert labels_of([strip(50), strip(20)], [OBJECT_BOX], size=(100, 20), config=best) == [IGNORED, OBJECT]


def test_images_may_have_anchors_of_their_own():
    """Each image by itself is the answer, with one or with two sets of anchors."""
    rng = np.random.default_rng(2)
    corner = rng.uniform(0, 40, (2, 80, 2))
    anchors = np.concatenate([corner, corner + rng.uniform(5, 60, (2, 80, 2))], axis=-1).astype("float32")
    images = [
        targets([OBJECT_BOX, [0, 0, 30, 40], [20, 0, 60, 60]], difficult=[2]),
        targets([[10, 10, 60, 60], [50, 50, 70, 90], [0, 0, 0, 0]], crowd=[1], padding=[2], size=(90, 70)),
    ]
    together = {name: np.concatenate([image[name] for image in images]) for name in images[0]}
    for config in (TargetConfig(), TargetConfig(best_anchor_positive=True, ignore_untouched=True)):
        result = assign(anchors, together, config, gray=True)
        assert set(array(result.labels).flat) == {IGNORED, BACKGROUND, OBJECT, GRAY}
        for i, image in enumerate(images):
            alone = assign(anchors[i], image, config, gray=True)
            np.testing.assert_array_equal(array(result.labels)[i], array(alone.labels)[0])
            np.testing.assert_array_equal(array(result.matches)[i], array(alone.matches)[0])


# --- sampling


def counts_of(numbers, config=TargetConfig(), gray=True):  # noqa: B008
    """How many (objects, backgrounds, grays) are sampled from a level that has `numbers` of them and 50 ignored."""
    labels = np.repeat([OBJECT, BACKGROUND, GRAY, IGNORED], [*numbers, 50])
    labels = np.random.default_rng(0).permutation(labels).astype("int32")[None]
    drawn = sample(labels, np.array([7], "int32"), config, gray=gray)
    places, used = array(drawn.anchors)[0], array(drawn.used)[0] > 0
    chosen, as_labels = places[used], array(drawn.labels)[0][used]
    assert len(set(chosen)) == len(chosen)
    assert places.min() >= 0
    assert places.max() < labels.shape[1]
    np.testing.assert_array_equal(labels[0, chosen], as_labels)
    return tuple(int((as_labels == label).sum()) for label in (OBJECT, BACKGROUND, GRAY))


@pytest.mark.parametrize(
    ("there", "sampled"),
    [
        ((5, 1000, 1000), (5, 10, 7)),  # negatives 2 x 5, gray half of 15
        ((1, 1000, 1000), (1, 2, 1)),
        ((80, 1000, 1000), (80, 100, 90)),  # at most 100 of a class
        ((500, 1000, 1000), (100, 100, 100)),
        ((5, 3, 1000), (5, 3, 4)),
        ((5, 1000, 2), (5, 10, 2)),
        ((0, 1000, 1000), (0, 20, 10)),  # the quota
        ((0, 6, 1000), (0, 6, 3)),
        ((0, 0, 0), (0, 0, 0)),
        ((3, 0, 0), (3, 0, 0)),
    ],
)
def test_equilibrium_counts_by_hand(there, sampled):
    assert counts_of(there) == sampled


def test_counts_without_equilibrium_and_without_gray():
    without = TargetConfig(equilibrium=False)
    assert counts_of((5, 1000, 30), without) == (5, 100, 30)
    assert counts_of((5, 1000, 1000), without) == (5, 100, 52)  # gray is half of the others all the same
    assert counts_of((0, 7, 1000), without) == (0, 7, 3)
    assert counts_of((5, 1000, 30), gray=False) == (5, 10, 0)
    assert counts_of((0, 1000, 30), TargetConfig(quota=4)) == (0, 4, 2)


def test_sampling_does_not_depend_on_the_rest_of_the_batch():
    labels = np.random.default_rng(1).integers(-1, 3, (4, 600)).astype("int32")
    seeds = np.array([3, 1, 4, 1], "int32")
    whole = sample(labels, seeds, TargetConfig(), gray=True)
    for i in range(4):
        part = sample(labels[i : i + 1], seeds[i : i + 1], TargetConfig(), gray=True)
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(array(one)[i], array(other)[0])


def test_every_anchor_is_drawn_equally_often():
    anchors, draws, seeds = 50, 10, 4000
    labels = np.full((seeds, anchors), BACKGROUND, "int32")
    config = TargetConfig(per_class=draws, equilibrium=False)
    drawn = sample(labels, np.arange(seeds, dtype="int32"), config, gray=False)
    chosen = array(drawn.anchors)[array(drawn.used) > 0]
    counts = np.bincount(chosen, minlength=anchors)
    share = draws / anchors
    deviations = (counts - seeds * share) / np.sqrt(seeds * share * (1 - share))
    assert counts.sum() == seeds * draws
    assert np.abs(deviations).max() < 5
    assert 0.5 < np.square(deviations).mean() < 1.7  # chi-square of 49 degrees over 49, beyond +- 3.4 deviations


# --- random numbers


def numbers_of(seeds, count):
    return array(random_numbers(np.array(seeds, "int32"), np.arange(count, dtype="int32")))


def test_random_numbers_equal_exact_integer_arithmetic():
    """The same hash in Python's unbounded integers: overflow must wrap and shifts must be logical."""

    def scramble(x):
        x = ((x ^ (x >> 16)) * 0x7FEB352D) % 2**32
        x = ((x ^ (x >> 15)) * 0x846CA68B) % 2**32
        return x ^ (x >> 16)

    seeds = [0, 1, -1, 2**31 - 1, -(2**31), 123456789]
    expected = [
        [(scramble(scramble(scramble(seed % 2**32) ^ counter)) & 0xFFFFFF) / 2**24 for counter in range(200)]
        for seed in seeds
    ]
    np.testing.assert_array_equal(numbers_of(seeds, 200), expected)


@pytest.mark.parametrize("seed", [0, 1, -5, 2**31 - 1])
def test_random_numbers_are_uniform(seed):
    numbers = numbers_of([seed], 100_000)[0]
    assert numbers.min() >= 0
    assert numbers.max() < 1
    bins = np.histogram(numbers, 64, (0, 1))[0]
    chi_square = np.square(bins - 100_000 / 64).sum() / (100_000 / 64)
    assert 20 < chi_square < 120  # 63 degrees of freedom, standard deviation 11.2
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.015  # 4.7 standard deviations


def test_neighbouring_seeds_and_levels_are_not_alike():
    """Seeds of one image's levels are s + 1, s + 2, s + 3, those of two images any two numbers."""
    numbers = numbers_of([1, 2, 3, 4, 1000, 1001, -1, 2**31 - 1], 50_000)
    correlation = np.corrcoef(numbers) - np.eye(8)
    assert np.abs(correlation).max() < 0.02
    best = [set(np.argsort(row)[-500:]) for row in numbers]  # 500 of 50,000: 5 in common by chance
    for i in range(8):
        for j in range(i):
            assert len(best[i] & best[j]) < 20
