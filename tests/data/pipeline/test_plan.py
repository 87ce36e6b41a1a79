from dataclasses import replace

import numpy as np
import pytest

from zip_keras.config import DataConfig
from zip_keras.data.pipeline.plan import batches_per_epoch, plan_epoch
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError

PLAIN = DataConfig(resize="fixed", short_side=300, long_side=450, flip=False, bucket_multiple=64)


def record(height, width, boxes=(), *, difficult=None, crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return ImageRecord(
        image_id=0,
        file="unread.jpg",
        height=height,
        width=width,
        boxes=boxes,
        classes=np.zeros(len(boxes), np.int32),
        difficult=none if difficult is None else np.array(difficult, bool),
        crowd=none if crowd is None else np.array(crowd, bool),
        area=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
    )


def dataset(*records):
    return Dataset("hand:made", ("thing",), records)


@pytest.fixture
def mixed():
    """61 images of many sizes with 0 to 4 objects each."""
    rng = np.random.default_rng(7)
    records = []
    for _ in range(61):
        height, width = rng.integers(120, 700, 2)
        corner = rng.uniform(0, 0.6, (rng.integers(5), 2)) * (height, width)
        side = rng.uniform(0.05, 0.4, corner.shape) * (height, width)
        records.append(record(int(height), int(width), np.concatenate([corner, corner + side], axis=1)))
    return dataset(*records)


def by_record(plan, values):
    """Values `[N, B, ...]` by record number."""
    order = plan.records.ravel()
    return dict(zip(order.tolist(), values.reshape(len(order), *values.shape[2:]), strict=True))


def test_fixed_short_side_and_its_cap_by_hand():
    three = dataset(record(375, 500), record(500, 375), record(200, 800))
    plan = plan_epoch(three, PLAIN, batch_size=1, seed=0, epoch=0)
    sizes = {number: tuple(size) for number, size in by_record(plan, plan.sizes).items()}
    # 375 -> 300 is 0.8; for 200 x 800 the cap decides: 450 / 800, so 112.5 x 450, rounded to even
    assert sizes == {0: (300, 400), 1: (400, 300), 2: (112, 450)}
    padded = {int(r[0]): tuple(p) for r, p in zip(plan.records, plan.padded, strict=True)}
    assert padded == {0: (320, 448), 1: (448, 320), 2: (128, 512)}
    assert plan.windows.reshape(3, 4)[np.argsort(plan.records[:, 0])].tolist() == [
        [0, 0, 375, 500],
        [0, 0, 500, 375],
        [0, 0, 200, 800],
    ]
    assert not plan.flips.any()
    assert np.all(plan.jitter == 1)


def test_a_plan_depends_on_seed_and_epoch_alone(mixed):
    settings = DataConfig(crop=0.5, colour_jitter=0.2)
    one, again = (plan_epoch(mixed, settings, 4, seed=3, epoch=2) for _ in range(2))
    for name in ("records", "windows", "sizes", "flips", "jitter", "seeds", "padded"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    for seed, epoch in ((3, 3), (4, 2)):
        other = plan_epoch(mixed, settings, 4, seed=seed, epoch=epoch)
        assert not np.array_equal(one.records, other.records)
        assert not np.array_equal(by_record(one, one.seeds), by_record(other, other.seeds))


@pytest.mark.parametrize("resize", ["fixed", "random", "dynamic"])
def test_an_image_comes_at_most_once_and_the_remainder_changes(mixed, resize):
    settings = DataConfig(resize=resize)
    left_out = []
    for epoch in range(30):
        plan = plan_epoch(mixed, settings, 8, seed=0, epoch=epoch)
        assert plan.records.shape == (7, 8)
        used = set(plan.records.ravel().tolist())
        assert len(used) == 56
        left_out.append(set(range(61)) - used)
    # 30 epochs x 5 of 61: all but a few images have been left out once, none always
    assert len(set.union(*left_out)) > 45
    assert not set.intersection(*left_out)


def test_a_batch_is_padded_to_the_next_multiple(mixed):
    plan = plan_epoch(mixed, DataConfig(bucket_multiple=32), 4, seed=1, epoch=0)
    assert np.all(plan.padded % 32 == 0)
    excess = plan.padded - plan.sizes.max(axis=1)
    assert excess.min() >= 0
    assert excess.max() < 32


def test_images_of_a_batch_have_similar_sizes():
    portrait_and_landscape = dataset(*[record(375, 500), record(500, 375)] * 40)
    plan = plan_epoch(portrait_and_landscape, PLAIN, 8, seed=0, epoch=0)
    shapes, counts = np.unique(plan.padded, axis=0, return_counts=True)
    assert shapes.tolist() == [[320, 448], [448, 320]]
    assert counts.tolist() == [5, 5]
    first_five = plan.padded[:5, 0]
    assert len(set(first_five.tolist())) == 2  # batches are shuffled: not all of one shape first


def test_random_short_side_is_one_draw_a_batch():
    square = dataset(*[record(400, 400)] * 200)
    settings = replace(PLAIN, resize="random", random_short_sides=(200, 300, 400))
    sides = plan_epoch(square, settings, 4, seed=0, epoch=0).sizes[:, :, 0]
    assert np.all(sides == sides[:, :1])
    assert set(sides[:, 0].tolist()) == {200, 300, 400}


def test_random_short_side_respects_the_cap(mixed):
    settings = replace(PLAIN, resize="random", random_short_sides=(200, 300, 400))
    assert plan_epoch(mixed, settings, 4, seed=0, epoch=0).sizes.max() == 450


@pytest.mark.parametrize(("variant", "low"), [("paper", 64), ("released", 72)])
def test_dynamic_scale_brings_the_object_into_the_medium_range(variant, low):
    # 40 x 90 pixels: side 60, so factors from 64 / 60 on; no bound of the image's sides is reached
    one_object = dataset(*[record(300, 300, [[100, 50, 140, 140]])] * 400)
    settings = DataConfig(dynamic_variant=variant)
    factors = plan_epoch(one_object, settings, 4, seed=0, epoch=0).sizes[:, :, 0].ravel() / 300
    sides = 60 * factors
    assert low - 0.2 <= sides.min() < low + 2  # 0.2: sizes are whole pixels
    assert 126 < sides.max() <= 128.2


def test_dynamic_scale_keeps_its_bounds():
    large = record(500, 500, [[0, 0, 500, 500]])  # 64 / 500 would make the image 64 pixels
    small = record(500, 400, [[10, 10, 20, 20]])  # 64 / 10 would make it 3200
    plan = plan_epoch(dataset(large, small), DataConfig(), 1, seed=0, epoch=0)
    sizes = by_record(plan, plan.sizes)
    assert 100 <= sizes[0].min() <= 128
    assert sizes[1].tolist() == [800, 640]
    narrow = plan_epoch(dataset(record(1000, 50, [[0, 0, 50, 50]])), DataConfig(), 1, seed=0, epoch=0)
    assert narrow.sizes[0, 0].tolist() == [800, 40]  # the cap wins over the least short side


def test_dynamic_scale_draws_every_object_that_trains():
    objects = [[0, 0, 64, 64], [0, 0, 128, 128], [0, 0, 256, 256], [0, 0, 32, 32]]
    image = record(400, 400, objects, difficult=[0, 0, 0, 1], crowd=[0, 0, 1, 0])
    plan = plan_epoch(dataset(*[image] * 300), DataConfig(), 1, seed=0, epoch=0)
    factors = plan.sizes[:, 0, 0] / 400
    assert factors.min() == pytest.approx(64 / 128, abs=0.01)  # the object of 256 is a crowd
    assert factors.max() == pytest.approx(128 / 64, abs=0.02)  # the one of 32 is difficult
    assert 0.4 < np.mean(factors > 1) < 0.6


def test_dynamic_scale_without_an_object():
    empty, hard = record(375, 500), record(375, 500, [[0, 0, 10, 10]], difficult=[True])
    plan = plan_epoch(dataset(empty, hard), DataConfig(short_side=300), 2, seed=0, epoch=0)
    assert plan.sizes[0].tolist() == [[300, 400], [300, 400]]


def test_flip_mirrors_half_of_the_images(mixed):
    flips = [plan_epoch(mixed, DataConfig(), 8, seed=0, epoch=epoch).flips for epoch in range(20)]
    assert np.mean(flips) == pytest.approx(0.5, abs=0.06)  # 1120 draws: 4 standard deviations


def test_colour_jitter_stays_within_its_strength(mixed):
    jitter = plan_epoch(mixed, DataConfig(colour_jitter=0.2), 8, seed=0, epoch=0).jitter
    assert 0.8 <= jitter.min() < 0.83
    assert 1.17 < jitter.max() <= 1.2


def test_a_crop_lies_in_the_image_and_holds_an_object(mixed):
    plan = plan_epoch(mixed, DataConfig(crop=1.0), 1, seed=0, epoch=0)
    windows = by_record(plan, plan.windows)
    cropped = 0
    for number, image in enumerate(mixed.records):
        y1, x1, y2, x2 = windows[number]
        assert 0 <= y1 < y2 <= image.height
        assert 0 <= x1 < x2 <= image.width
        whole = (y1, x1, y2, x2) == (0, 0, image.height, image.width)
        if len(image.boxes) == 0:
            assert whole
        else:
            held = np.all(image.boxes >= [y1, x1, 0, 0], axis=1) & np.all(image.boxes[:, 2:] <= [y2, x2], axis=1)
            assert held.any()
            cropped += not whole
    assert cropped > 30


def test_crop_is_a_probability():
    images = dataset(*[record(300, 300, [[100, 100, 120, 120]])] * 1000)
    plan = plan_epoch(images, DataConfig(crop=0.3), 10, seed=0, epoch=0)
    share = np.mean(np.any(plan.windows != [0, 0, 300, 300], axis=-1))
    assert share == pytest.approx(0.3, abs=0.06)


def test_an_object_at_the_border_survives_the_crop():
    images = dataset(*[record(100, 100, [[99.2, 99.5, 100, 100]])] * 50)
    windows = plan_epoch(images, DataConfig(crop=1.0), 1, seed=0, epoch=0).windows[:, 0]
    assert np.all(windows[:, 2:] == 100)
    assert np.all(windows[:, :2] <= 99)


def test_one_augmentation_leaves_the_others_alone(mixed):
    plain = plan_epoch(mixed, PLAIN, 4, seed=5, epoch=1)
    changed = plan_epoch(mixed, replace(PLAIN, flip=True, colour_jitter=0.3), 4, seed=5, epoch=1)
    for name in ("records", "windows", "sizes", "seeds", "padded"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(changed, name))
    assert changed.flips.any()


def test_a_data_set_smaller_than_a_batch_is_refused():
    assert batches_per_epoch(dataset(*[record(10, 10)] * 9), 4) == 2
    with pytest.raises(UserError, match=r"hand:made: 3 images do not fill a batch of 4; lower train\.batch_size"):
        plan_epoch(dataset(*[record(10, 10)] * 3), PLAIN, 4, seed=0, epoch=0)
