import dataclasses

import numpy as np
import pytest

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError
from zip_keras.inference import calibration
from zip_keras.inference.calibration import calibrate, calibrated
from zip_keras.inference.calibration_images import image_digest, refuse_calibration_images
from zip_keras.inference.loading import load_proposer
from zip_keras.inference.model_files import stored_calibration
from zip_keras.inference.runner import load_image, propose_records
from zip_keras.models.postprocess import Candidates

SIDE = 100


@pytest.fixture
def dataset(tmp_path, encoded_image):
    """Eight different pictures with one 40 x 40 object each."""
    records = []
    for number in range(8):
        file = tmp_path / f"{number}.png"
        file.write_bytes(encoded_image("PNG", SIDE, SIDE + number))
        records.append(
            ImageRecord(
                image_id=number,
                file=str(file),
                offset=0,
                length=-1,
                height=SIDE,
                width=SIDE + number,
                boxes=np.array([[30, 30, 70, 70]], np.float32),
                classes=np.zeros(1, np.int32),
                difficult=np.zeros(1, bool),
                crowd=np.zeros(1, bool),
                area=np.array([1600], np.float32),
            )
        )
    return Dataset("made:val", ("thing",), tuple(records))


class TellsTheWrongLevel:
    """Stands for a proposer: level 1 finds the object with .4, level 3 something else with .5."""

    def __init__(self, proposer, level_of_object=1):
        self.postprocess_config = dataclasses.replace(proposer.postprocess_config, level_bias=(0.0, 0.0, 0.0))
        self.level = level_of_object

    def level_candidates(self, images):
        import tensorflow as tf

        boxes = tf.constant([[[0, 0, 20, 20], [30, 30, 70, 70]]], tf.float32)
        return Candidates(boxes, tf.constant([[0.5, 0.4]]), tf.constant([[3, self.level]]))


def test_folds_without_an_object_change_nothing(small_proposer, dataset):
    """Only one image has an object: its bias is chosen on images that have none."""
    empty = [dataclasses.replace(r, boxes=r.boxes[:0], classes=r.classes[:0], difficult=r.difficult[:0],
                                 crowd=r.crowd[:0], area=r.area[:0]) for r in dataset.records[1:]]  # fmt: skip
    found = calibrate(
        TellsTheWrongLevel(small_proposer),
        dataclasses.replace(dataset, records=(dataset.records[0], *empty)),
        budget=1,
        folds=8,
    )
    assert (found.bias, found.held_out) == ((0.0, 0.0, 0.0), 0.0)


def test_a_level_that_is_too_modest_is_raised(small_proposer, dataset):
    found = calibrate(TellsTheWrongLevel(small_proposer), dataset, budget=1)
    assert found.bias[0] > 0.1  # .4 + bias must pass .5
    assert found.bias[1:] == (0.0, 0.0)
    assert (found.before, found.after, found.held_out) == (0.0, 1.0, 1.0)


def test_biases_stay_zero_where_they_do_not_help(small_proposer, dataset):
    found = calibrate(TellsTheWrongLevel(small_proposer, level_of_object=3), dataset, budget=1)
    assert (found.bias, found.before, found.after) == ((0.0, 0.0, 0.0), 0.0, 0.0)


def test_search_walks_to_the_top():
    def hill(bias, images):
        return -abs(bias[0] - 0.33) - abs(bias[1] + 0.12)

    assert calibration._search(hill, np.arange(3)) == pytest.approx((0.33, -0.12, 0.0), abs=0.011)


def test_unbiased_lists_are_those_of_the_proposer(small_proposer, small_propose, dataset):
    """What the calibration measures without a bias is what the model itself proposes."""
    from zip_keras.evaluation.average_recall import average_recall

    found = calibrate(small_proposer, dataset, budget=50, folds=2)
    own = average_recall(dataset, propose_records(small_propose, dataset.records), budgets=(50,))
    assert found.before == pytest.approx(own["AR@50"], abs=1e-9)


def test_a_calibrated_model_refuses_its_calibration_images(small_proposer, small_propose, dataset, tmp_path):
    found = calibration.Calibration((0.1, -0.05, 0.0), 0.4, 0.5, 0.45, 100, 4)
    first_half = dataclasses.replace(dataset, records=dataset.records[:4])
    biased = calibrated(small_proposer, first_half, found)
    biased.save(tmp_path / "calibrated.keras")
    stored = stored_calibration(tmp_path / "calibrated.keras")
    assert stored == biased.calibration
    assert (stored["data"], stored["held_out"]) == ("made:val", 0.45)
    refuse_calibration_images(stored, dataset.records[4:])
    with pytest.raises(UserError, match=r"3\.png: the model's level biases were chosen on this image.*made:val"):
        refuse_calibration_images(stored, dataset.records[3:])
    image = load_image(dataset.records[0])
    changed = load_proposer(tmp_path / "calibrated.keras")(image)
    plain = small_propose(image)
    assert np.abs(changed.scores.max() - plain.scores.max()) > 0.01


def test_a_renamed_image_is_known(dataset, tmp_path):
    record = dataset.records[0]
    copy = tmp_path / "another name.png"
    copy.write_bytes((tmp_path / "0.png").read_bytes())
    assert image_digest(dataclasses.replace(record, file=str(copy))) == image_digest(record)
    assert image_digest(record) != image_digest(dataset.records[1])


def test_too_few_images_and_no_objects(small_proposer, dataset):
    with pytest.raises(UserError, match="made:val: 3 images are too few for 4 folds"):
        calibrate(small_proposer, dataclasses.replace(dataset, records=dataset.records[:3]))
    nothing = [
        dataclasses.replace(
            record,
            boxes=np.zeros((0, 4), np.float32),
            **{name: getattr(record, name)[:0] for name in ("classes", "difficult", "crowd", "area")},
        )
        for record in dataset.records
    ]
    with pytest.raises(UserError, match="no object in the calibration images"):
        calibrate(small_proposer, dataclasses.replace(dataset, records=tuple(nothing)))
