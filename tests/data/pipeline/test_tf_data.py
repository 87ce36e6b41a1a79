import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from zip_keras.config import DataConfig
from zip_keras.data.pipeline.batch_targets import boxes_of
from zip_keras.data.pipeline.batches import BatchMaker
from zip_keras.data.pipeline.plan import plan_epoch
from zip_keras.data.pipeline.tf_data import describe_failure, training_batches
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.data.tfrecord.container import write_record
from zip_keras.errors import UserError
from zip_keras.pixels import PADDING

SETTINGS = DataConfig(resize="fixed", short_side=32, long_side=64, bucket_multiple=16)


def write_image(path: Path, pixels: np.ndarray) -> ImageRecord:
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(pixels).numpy())
    height, width = pixels.shape[:2]
    return record_of(path, height, width)


def record_of(path: Path, height: int, width: int) -> ImageRecord:
    return ImageRecord(
        image_id=path.stem,
        file=str(path),
        height=height,
        width=width,
        boxes=np.array([[1, 2, height / 2, width / 2]], np.float32),
        classes=np.zeros(1, np.int32),
        difficult=np.zeros(1, bool),
        crowd=np.zeros(1, bool),
        area=np.ones(1, np.float32),
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """14 noise images of sides 40 to 90."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    records = [
        write_image(folder / f"{i}.{kind}", rng.integers(0, 256, (*rng.integers(40, 90, 2), 3), np.uint8))
        for i, kind in enumerate(["png", "jpg"] * 7)
    ]
    return Dataset("made:noise", ("thing",), tuple(records))


def take(dataset, count):
    return [(x.numpy(), {name: value.numpy() for name, value in y.items()}) for x, y in islice(dataset, count)]


def assert_same(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        np.testing.assert_array_equal(one[1][name], other[1][name])


def one_image(tmp_path, pixels, **settings):
    alone = Dataset("made:one", ("thing",), (write_image(tmp_path / "one.png", pixels),))
    return take(training_batches(alone, replace(SETTINGS, **settings), 1, seed=0), 8)


def test_an_unscaled_image_is_padded_and_otherwise_untouched(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 40, 3), np.uint8)
    (image, y), *_ = one_image(tmp_path, pixels, flip=False)
    assert image.shape == (1, 32, 48, 3)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[0, :, :40], pixels)
    np.testing.assert_array_equal(image[0, :, 40:], np.full((32, 8, 3), PADDING))
    assert y["size"].tolist() == [[32, 40]]


def test_flip_mirrors_the_valid_part_and_its_boxes(tmp_path):
    pixels = np.zeros((32, 40, 3), np.uint8)
    pixels[1:16, 2:20] = 255  # where record_of puts its box
    seen = set()
    for image, y in one_image(tmp_path, pixels, flip=True):
        y1, x1, y2, x2 = y["boxes"][0, 0].astype(int)
        assert image[0, y1:y2, x1:x2].min() == 255
        assert image[0, :, :40].sum() == pixels.sum()
        seen.add(int(x1))
    assert seen == {2, 20}


def test_a_crop_shows_what_its_boxes_say(tmp_path):
    pixels = np.zeros((64, 80, 3), np.uint8)
    pixels[1:32, 2:40] = 255
    shapes = set()
    for image, y in one_image(tmp_path, pixels, crop=1.0, flip=False, short_side=64, long_side=200):
        y1, x1, y2, x2 = y["boxes"][0, 0]
        height, width = y["size"][0].astype(int)
        valid = image[0, :height, :width, 0]
        rows, columns = np.nonzero(valid > 127)
        # the edge of the white rectangle, to the half pixel that interpolation leaves
        assert (rows.min(), columns.min()) == pytest.approx((y1, x1), abs=1)
        assert (rows.max() + 1, columns.max() + 1) == pytest.approx((y2, x2), abs=1)
        shapes.add((height, width))
    assert len(shapes) > 3


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.zeros((48, 48, 3), np.uint8)
    stripes[::2] = 255
    image = one_image(tmp_path, stripes, short_side=16)[0][0]
    # a triangle over five rows, 1 2 3 2 1 ninths, puts 4 or 5 ninths on white; without it each third row is picked
    assert sorted(set(np.rint(image[0, 1:-1, 5, 0]).tolist())) == [113, 142]


def test_colour_jitter_by_hand(tmp_path):
    images_ = one_image(tmp_path, np.full((32, 32, 3), 100, np.uint8), colour_jitter=0.3)
    levels = [float(image[0, 5, 5, 0]) for image, _ in images_]
    # on a uniform gray image only brightness shows
    alone = Dataset("made:one", ("thing",), (record_of(tmp_path / "one.png", 32, 32),))
    planned = [
        plan_epoch(alone, replace(SETTINGS, colour_jitter=0.3), 1, seed=0, epoch=e).jitter[0, 0, 0] for e in range(8)
    ]
    assert levels == pytest.approx([100 * factor for factor in planned], rel=1e-4)
    assert max(levels) - min(levels) > 15


def test_targets_are_those_of_the_plan(images):
    settings = replace(SETTINGS, resize="random", random_short_sides=(24, 40))
    batches = take(training_batches(images, settings, 4, seed=9), 6)
    for step, (image, y) in enumerate(batches):
        plan = plan_epoch(images, settings, 4, seed=9, epoch=step // 3)
        assert image.shape == (4, *plan.padded[step % 3], 3)
        np.testing.assert_array_equal(y["index"], plan.records[step % 3])
        np.testing.assert_array_equal(y["seed"], plan.seeds[step % 3])
        np.testing.assert_array_equal(y["size"], plan.sizes[step % 3])
        for row, number in enumerate(plan.records[step % 3]):
            alone = boxes_of(images.records[number], plan.example(step % 3, row)).boxes
            np.testing.assert_array_equal(y["boxes"][row, : len(alone)], alone)
            assert (y["classes"][row, len(alone) :] == -1).all()


@pytest.mark.parametrize("start", [1, 3, 5, 7])
def test_starting_late_continues_the_same_run(images, start):
    settings = replace(SETTINGS, resize="dynamic", crop=0.5, colour_jitter=0.1, dynamic_min_short=20)
    whole = take(training_batches(images, settings, 4, seed=2), start + 2)  # 3 batches an epoch
    late = take(training_batches(images, settings, 4, seed=2, start_step=start), 2)
    for one, other in zip(whole[start:], late, strict=True):
        assert_same(one, other)


def test_workers_share_every_batch(images):
    whole = take(training_batches(images, SETTINGS, 4, seed=2), 5)
    shares = [take(training_batches(images, SETTINGS, 4, seed=2, shard=(i, 2)), 5) for i in range(2)]
    for both, first, second in zip(whole, *shares, strict=True):
        joined = {name: np.concatenate([first[1][name], second[1][name]]) for name in first[1]}
        assert_same(both, (np.concatenate([first[0], second[0]]), joined))


def test_replicas_get_consecutive_parts(images):
    whole = take(training_batches(images, SETTINGS, 4, seed=2), 2)
    parts = take(training_batches(images, SETTINGS, 4, seed=2, replicas=2), 4)
    for step, both in enumerate(whole):
        first, second = parts[2 * step : 2 * step + 2]
        joined = {name: np.concatenate([first[1][name], second[1][name]]) for name in first[1]}
        assert_same(both, (np.concatenate([first[0], second[0]]), joined))


def test_a_private_pool_changes_nothing(images):
    one, two = (take(training_batches(images, SETTINGS, 4, seed=2, threads=t), 3) for t in (None, 1))
    for left, right in zip(one, two, strict=True):
        assert_same(left, right)


def test_shapes_leave_height_and_width_open(images):
    image, y = training_batches(images, SETTINGS, 4, seed=0).element_spec
    assert image.shape.as_list() == [4, None, None, 3]
    assert y["boxes"].shape.as_list() == [4, 8, 4]
    assert y["size"].shape.as_list() == [4, 2]


def test_an_example_in_a_shard_equals_its_loose_file(images, tmp_path):
    records = []
    with (tmp_path / "shard").open("wb") as shard:
        for record in images.records:
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[Path(record.file).read_bytes()]))
            example = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature}))
            content = example.SerializeToString()
            offset = write_record(shard, content)
            records.append(replace(record, file=shard.name, offset=offset, length=len(content)))
    packed = Dataset("records:made", images.class_names, tuple(records))
    for one, other in zip(
        take(training_batches(images, SETTINGS, 4, seed=0), 3),
        take(training_batches(packed, SETTINGS, 4, seed=0), 3),
        strict=True,
    ):
        assert_same(one, other)


def failure_of(dataset):
    with pytest.raises(tf.errors.OpError) as caught:
        take(training_batches(dataset, SETTINGS, 1, seed=0), 1)
    return describe_failure(caught.value)


def test_a_broken_image_is_named(images, tmp_path):
    for suffix in ("jpg", "png"):
        path = tmp_path / f"broken ['ä' \\ 1].{suffix}"
        original = next(r for r in images.records if r.file.endswith(suffix))
        path.write_bytes(Path(original.file).read_bytes()[:200])
        failure = failure_of(Dataset("made:broken", ("thing",), (replace(original, file=str(path)),)))
        assert isinstance(failure, UserError)
        assert str(failure).startswith(f"{path}: does not decode (")
        assert "\n" not in str(failure)
        assert "{{" not in str(failure)


def test_a_jpeg_that_ends_early_is_named(tmp_path, encoded_image):
    """Decoders fill the rest with gray; files are looked at when they are first read, shards when they are written."""
    path, whole = tmp_path / "early.jpg", encoded_image("JPEG", 60, 80)
    path.write_bytes(whole)
    dataset = Dataset("made:early", ("thing",), (record_of(path, 60, 80),))
    maker = BatchMaker(dataset, SETTINGS, 1, seed=0)
    maker.example(0, 0)
    path.write_bytes(whole[: int(len(whole) * 0.7)] + b"\xff\xd9")
    maker.example(1, 0)  # not looked at again
    assert str(failure_of(dataset)).startswith(f"{path}: does not decode (the JPEG data end before the image does)")


def test_a_missing_image_is_named(tmp_path):
    failure = failure_of(Dataset("made:missing", ("thing",), (record_of(tmp_path / "gone.jpg", 40, 40),)))
    assert str(failure).startswith(f"{tmp_path}/gone.jpg: cannot be read (No such file")


def test_an_image_of_another_size_is_named(images):
    wrong = replace(images.records[0], height=images.records[0].height + 1)
    failure = failure_of(Dataset("made:wrong", ("thing",), (wrong,)))
    assert f"{wrong.file}: is {wrong.width} x {wrong.height - 1} pixels, annotated as" in str(failure)


def test_turned_and_16_bit_images_are_refused(tmp_path):
    """Training would take 16 bits for white, and boxes of the upright view for those of the stored one."""
    from PIL import Image

    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 60), 30000, np.uint16)).save(deep)
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (60, 40)).save(turned, exif=exif)
    for file, message in ((deep, "16 bits a channel"), (turned, "EXIF orientation 3")):
        dataset = Dataset("data", ("thing",), (record_of(file, 40, 60),))
        with pytest.raises(UserError, match=f"{file.name}: .*{message}.*prepare_data"):
            BatchMaker(dataset, SETTINGS, 1, 0).batch(0)


def test_other_errors_are_not_bad_input():
    assert describe_failure(ValueError("something else")) is None


def test_a_batch_that_does_not_split_is_refused(images):
    with pytest.raises(UserError, match=r"train\.batch_size 4 does not split over 3 workers with 1 replicas"):
        training_batches(images, SETTINGS, 4, seed=0, shard=(0, 3))


@pytest.mark.skipif("ZIP_KERAS_DATA" not in os.environ, reason="ZIP_KERAS_DATA names no folder with real images")
def test_real_objects_are_where_their_boxes_are():
    """The object's pixels, cut out of the batch by its box, resemble those that the annotation cuts out of the file."""
    from zip_keras.data.sources import open_dataset

    val = open_dataset(f"{os.environ['ZIP_KERAS_DATA']}/voc07:val")
    plan, correlations = plan_epoch(val, DataConfig(), 4, seed=0, epoch=0), []
    for step, (image, y) in enumerate(take(training_batches(val, DataConfig(), 4, seed=0), 4)):
        for row in range(4):
            record = val.records[y["index"][row]]
            original = tf.io.decode_jpeg(tf.io.read_file(record.file)).numpy()
            number = np.argmax(record.area)
            y1, x1, y2, x2 = np.rint(record.boxes[number]).astype(int)
            expected = original[y1:y2, x1:x2][:, :: -1 if plan.flips[step, row] else 1]
            y1, x1, y2, x2 = np.rint(y["boxes"][row, number]).astype(int)
            shown = image[row, y1:y2, x1:x2]
            pair = [tf.image.resize(part, (24, 24), antialias=True).numpy().ravel() for part in (expected, shown)]
            correlations.append(np.corrcoef(pair)[0, 1])
    assert min(correlations) > 0.97
