import hashlib
import json
import re
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from zip_keras.errors import UserError
from zip_keras.export.saved_model import export_model
from zip_keras.inference.runner import InferenceRunner, decode_image
from zip_keras.utils.locks import FolderLock

SIZES = ((97, 131), (1, 1), (5, 300), (300, 5), (128, 128))

# An app with the core install: the extras cannot be imported. TensorFlow alone answers from the SavedModel; Keras,
# after nothing but `import zip_keras`, from the .keras file.
EXTRAS = (
    "official",
    "orbit",
    "matplotlib",
    "PIL",
    "jsonargparse",
    "yaml",
    "pycocotools",
    "tqdm",
    "scipy",
    "cv2",
    "torch",
)
FRESH_PROCESS = f"""
import sys
for name in {EXTRAS}:
    sys.modules[name] = None
"""
FRESH_PROCESS += """
import numpy as np
import tensorflow as tf
folder, inputs, outputs = sys.argv[1:]
images = dict(np.load(inputs))
served = tf.saved_model.load(folder).signatures["serving_default"]
results = {f"served {k} {n}": v.numpy() for k, i in images.items() for n, v in served(images=tf.constant(i)).items()}
assert "zip_keras" not in sys.modules
import zip_keras
import keras
model = keras.models.load_model(folder + "/assets.extra/proposer.keras")
results |= {f"keras {k} {n}": np.asarray(v) for k, i in images.items() for n, v in model(i).items()}
np.savez(outputs, **results)
"""


def difference(found, expected) -> float:
    """Largest difference of scores and of boxes relative to the image's side; all the same places must be valid."""
    assert found["boxes"].shape == expected["boxes"].shape
    side = max(1.0, float(np.max(expected["boxes"], initial=0.0)))
    boxes = np.abs(found["boxes"] - expected["boxes"]).max(initial=0.0) / side
    return max(boxes, np.abs(found["scores"] - expected["scores"]).max(initial=0.0))


def valid_of(result, row=0):
    valid = np.asarray(result["valid"])[row]
    return {name: np.asarray(result[name])[row][valid] for name in ("boxes", "scores")}


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return {f"{h}x{w}": rng.integers(0, 256, (1, h, w, 3), np.uint8) for h, w in SIZES}


@pytest.fixture(scope="module")
def signatures(small_export):
    return tf.saved_model.load(str(small_export / "1")).signatures


@pytest.mark.slow
def test_a_fresh_process_gives_the_answers_of_this_one(mad_proposer, images, tmp_path, record_property):
    """A process that knows no test network, so the model is one that the package has, with all that the method has."""
    propose = InferenceRunner(mad_proposer)
    export = export_model(mad_proposer, tmp_path / "exported")
    np.savez(tmp_path / "images.npz", **images)
    arguments = [str(export), str(tmp_path / "images.npz"), str(tmp_path / "results.npz")]
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, *arguments], check=True)
    results = np.load(tmp_path / "results.npz")
    largest = {}
    for source in ("served", "keras"):
        largest[source] = 0.0
        for key, image in images.items():
            answer = {name: results[f"{source} {key} {name}"] for name in ("boxes", "scores", "valid", "levels")}
            expected = vars(propose(image[0]))
            assert len(expected["boxes"]) >= 1  # of 5 pixels of width there is not much to say
            largest[source] = max(largest[source], difference(valid_of(answer), expected))
    record_property("largest_difference", json.dumps(largest))
    print("largest difference:", largest)
    assert max(largest.values()) < 1e-5


@pytest.mark.parametrize(
    ("kind", "height", "width", "mode"),
    [
        ("JPEG", 97, 131, "RGB"),
        ("JPEG", 61, 40, "L"),
        ("JPEG", 33, 50, "CMYK"),
        ("PNG", 5, 300, "RGB"),
        ("PNG", 1, 1, "RGB"),
        ("PNG", 64, 90, "L"),
        ("PNG", 64, 90, "RGBA"),
    ],
)
def test_encoded_answers_as_uint8_does_on_the_decoded_image(
    signatures, small_propose, encoded_image, kind, height, width, mode
):
    encoded = encoded_image(kind, height, width, mode)
    image = decode_image(encoded, "made")
    assert image.shape == (height, width, 3)
    result = signatures["encoded"](image_bytes=tf.constant([encoded]))
    assert result["decoded"].numpy().tolist() == [True]
    answer = signatures["serving_default"](images=tf.constant(image[None]))
    assert difference(valid_of(result), valid_of(answer)) == 0
    assert difference(valid_of(result), vars(small_propose(image))) < 1e-5


def test_images_of_a_batch_do_not_touch_each_other(signatures, encoded_image):
    """Sizes differ, and broken ones are among them: cut short, no image, nothing."""
    good = [encoded_image("JPEG", 97, 131), encoded_image("PNG", 40, 77)]
    batch = [good[0], good[0][:500], b"no image", good[1], b"", good[1][:60]]
    result = signatures["encoded"](image_bytes=tf.constant(batch))
    assert result["decoded"].numpy().tolist() == [True, False, False, True, False, False]
    for row, encoded in ((0, good[0]), (3, good[1])):
        alone = signatures["encoded"](image_bytes=tf.constant([encoded]))
        for name in ("boxes", "scores", "valid", "levels"):
            np.testing.assert_array_equal(result[name][row], alone[name][0])
    for row in (1, 2, 4, 5):
        assert not result["valid"].numpy()[row].any()
        assert not result["boxes"].numpy()[row].any()
        assert not result["scores"].numpy()[row].any()


def test_a_batch_of_uint8_images_equals_its_images(signatures, images):
    batch = np.concatenate([images["97x131"], images["97x131"][:, ::-1], images["97x131"][:, :, ::-1]])
    together = signatures["serving_default"](images=tf.constant(batch))
    for row in range(3):
        alone = signatures["serving_default"](images=tf.constant(batch[row : row + 1]))
        assert difference(valid_of(together, row), valid_of(alone)) < 1e-5


def test_an_image_without_pixels_is_named(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="height and width must be at least 1 pixel"):
        signatures["serving_default"](images=tf.zeros([1, 0, 5, 3], tf.uint8))


def test_names_are_those_that_clients_were_promised(signatures):
    options = {"max_boxes": (tf.int32, (None,)), "score_threshold": (tf.float32, (None,))}
    pixels, files = {"images": (tf.uint8, (None, None, None, 3))}, {"image_bytes": (tf.string, (None,))}
    examples = {"examples": (tf.string, (None,))}
    promised = {  # inputs, length of the lists, whether images are decoded
        "serving_default": (pixels, 50, False),
        "serving_default_with_options": (pixels | options, None, False),
        "encoded": (files, 50, True),
        "encoded_with_options": (files | options, None, True),
        "tf_example": (examples, 50, True),
    }
    assert set(signatures) == set(promised)
    for name, (inputs, n, decodes) in promised.items():
        _, keywords = signatures[name].structured_input_signature
        assert {k: (s.dtype, tuple(s.shape)) for k, s in keywords.items()} == inputs
        outputs = {"boxes": (None, n, 4), "normalized_boxes": (None, n, 4)}
        outputs |= dict.fromkeys(("scores", "valid", "levels"), (None, n))
        outputs |= {"decoded": (None,)} if decodes else {}
        assert {k: tuple(s.shape) for k, s in signatures[name].structured_outputs.items()} == outputs


def test_boxes_also_come_as_shares_of_their_image(signatures, encoded_image):
    result = signatures["encoded"](
        image_bytes=tf.constant([encoded_image("PNG", h, w) for h, w in ((40, 90), (61, 30))])
    )
    sizes = np.float32([[40, 90, 40, 90], [61, 30, 61, 30]])[:, None]
    assert result["valid"].numpy().any(axis=1).all()
    np.testing.assert_allclose(result["normalized_boxes"] * sizes, result["boxes"], atol=1e-4)
    assert result["normalized_boxes"].numpy().max() <= 1


def test_limits_at_run_time_cut_the_list(signatures, images):
    """Each image has its own, and the lists are as long as the longest."""
    batch = np.concatenate([images["97x131"], images["97x131"][:, ::-1], images["97x131"][:, :, ::-1]])
    everything = {name: x.numpy() for name, x in signatures["serving_default"](images=tf.constant(batch)).items()}
    least = everything["scores"][1, 4]  # the second image keeps five
    result = signatures["serving_default_with_options"](
        images=tf.constant(batch), max_boxes=tf.constant([7, 100, 0]), score_threshold=tf.constant([0.0, least, 0.0])
    )
    assert result["valid"].numpy().sum(axis=1).tolist() == [7, 5, 0]
    for name, values in result.items():
        assert values.shape[1] == 7
        for row, count in enumerate((7, 5, 0)):
            np.testing.assert_array_equal(values[row, :count], everything[name][row, :count])
            assert not values[row, count:].numpy().any()
    nothing = signatures["serving_default_with_options"](
        images=tf.constant(batch), max_boxes=tf.constant([9, 9, 9]), score_threshold=tf.constant([2.0, 2.0, 2.0])
    )
    assert nothing["boxes"].shape == (3, 0, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_boxes must not be negative"):
        signatures["serving_default_with_options"](
            images=tf.constant(batch), max_boxes=tf.constant([1, 1, -1]), score_threshold=tf.zeros([3])
        )


def test_limits_of_image_files_and_an_empty_batch(signatures, encoded_image):
    files = tf.constant([encoded_image("JPEG", 40, 90), b"no image"])
    result = signatures["encoded_with_options"](
        image_bytes=files, max_boxes=tf.constant([3, 3]), score_threshold=tf.zeros([2])
    )
    assert result["valid"].numpy().tolist() == [[True] * 3, [False] * 3]
    assert result["decoded"].numpy().tolist() == [True, False]
    empty = signatures["encoded_with_options"](
        image_bytes=tf.zeros([0], tf.string), max_boxes=tf.zeros([0], tf.int32), score_threshold=tf.zeros([0])
    )
    assert empty["boxes"].shape == (0, 0, 4)


def test_examples_answer_as_the_image_files_in_them(signatures, encoded_image):
    def example(**features):
        content = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()
        }
        return tf.train.Example(features=tf.train.Features(feature=content)).SerializeToString()

    image = encoded_image("JPEG", 40, 90)
    batch = [example(**{"image/encoded": image}), example(**{"image/filename": b"x"}), b"no example", b""]
    result = signatures["tf_example"](examples=tf.constant(batch))
    expected = signatures["encoded"](image_bytes=tf.constant([image, b"", b"", b""]))
    assert result["decoded"].numpy().tolist() == [True, False, False, False]
    for name, values in expected.items():
        np.testing.assert_array_equal(result[name], values, err_msg=name)


def test_the_network_is_in_the_file_once(small_export, small_proposer):
    """Every signature calls one function, so the number of convolutions does not grow with the signatures."""
    content = saved_model_pb2.SavedModel.FromString((small_export / "1" / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    convolutions = sum(node.op == "Conv2D" for node in nodes)
    layers = [layer for layer in small_proposer.network._flatten_layers() if isinstance(layer, keras.layers.Conv2D)]
    assert len(layers) // 2 < convolutions < 2 * len(layers)


def test_the_readme_describes_the_signatures_and_the_files(small_export, signatures):
    text = (small_export / "1" / "README.md").read_text()
    for name, signature in signatures.items():
        section = text.partition(f"### `{name}`\n")[2].partition("\n#")[0]
        rows = set(re.findall(r"^\| `(\w+)` \| (\w+) \| \[([^]]*)\]", section, re.M))
        specs = signature.structured_input_signature[1] | signature.structured_outputs
        assert {(name, spec.dtype.name) for name, spec in specs.items()} == {row[:2] for row in rows}
        for name, _, shape in rows:
            stated = [int(side) if side.isdigit() else None for side in shape.split(", ")]
            assert stated == specs[name].shape.as_list()
    digest = hashlib.sha256((small_export / "1" / "saved_model.pb").read_bytes()).hexdigest()
    assert digest in text
    assert "Weights: not stated" in text


def test_the_loader_of_serving_programs_runs_it(small_export, signatures, encoded_image):
    """A session and feeds by tensor name, as in TensorFlow Serving and the C API: variables are restored by name."""
    batch = [encoded_image("JPEG", 50, 70), b"broken"]
    expected = signatures["encoded"](image_bytes=tf.constant(batch))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(small_export / "1"))
        signature = graph.signature_def["encoded"]
        found = session.run(
            {name: tensor.name for name, tensor in signature.outputs.items()},
            {signature.inputs["image_bytes"].name: np.array(batch, object)},
        )
    assert found["decoded"].tolist() == [True, False]
    np.testing.assert_allclose(found["boxes"], expected["boxes"], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(found["valid"], expected["valid"])


class TestVersions:
    """What appears in exported/NAME. A stand-in for the formats keeps it quick."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        self.failure = None

        def write(model, served, folder, formats, options):
            assert not folder.with_name("1").exists()
            (folder / "model").touch()
            if self.failure is not None:
                raise self.failure
            return iter(())

        def write_readme(folder, *rest):  # the real one traces every signature
            (folder / "README.md").touch()

        monkeypatch.setattr("zip_keras.export.saved_model.write_formats", write)
        monkeypatch.setattr("zip_keras.export.saved_model.write_readme", write_readme)
        monkeypatch.setattr("zip_keras.export.saved_model.write_warmup", lambda folder: None)

    def test_the_next_integer_is_taken(self, small_proposer, tmp_path):
        (tmp_path / "9").mkdir()
        (tmp_path / "notes").mkdir()
        assert export_model(small_proposer, tmp_path) == tmp_path / "10"
        assert export_model(small_proposer, tmp_path, 3) == tmp_path / "3"
        assert export_model(small_proposer, tmp_path / "new" / "name") == tmp_path / "new" / "name" / "1"
        assert sorted(p.name for p in (tmp_path / "3").iterdir()) == ["README.md", "assets.extra", "model"]

    def test_a_version_is_never_overwritten(self, small_proposer, tmp_path):
        (tmp_path / "2").mkdir()
        with pytest.raises(UserError, match=r"2: exists already; name another --version"):
            export_model(small_proposer, tmp_path, 2)
        with pytest.raises(UserError, match="integers from 1 on"):
            export_model(small_proposer, tmp_path, 0)

    def test_one_at_a_time_and_what_a_killed_one_left_is_removed(self, small_proposer, tmp_path):
        (tmp_path / ".4.17.part" / "variables").mkdir(parents=True)
        with FolderLock(tmp_path), pytest.raises(UserError, match="in use by process"):
            export_model(small_proposer, tmp_path)
        export_model(small_proposer, tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["1"]

    @pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_a_failure_leaves_nothing(self, small_proposer, tmp_path, failure):
        self.failure = failure
        with pytest.raises((UserError, KeyboardInterrupt)) as raised:
            export_model(small_proposer, tmp_path)
        assert list(tmp_path.iterdir()) == []
        if isinstance(failure, OSError):
            assert "No space left on device" in str(raised.value)


def test_a_proposer_never_called_saves_without_a_warning(small_proposer, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        type(small_proposer)(small_proposer.network).save(tmp_path / "new.keras")


def test_an_empty_batch_gets_an_empty_answer(signatures):
    for answer in (
        signatures["serving_default"](images=tf.zeros([0, 40, 60, 3], tf.uint8)),
        signatures["encoded"](image_bytes=tf.zeros([0], tf.string)),
    ):
        assert answer.pop("decoded", tf.zeros([0])).shape == (0,)
        shapes = {name: tuple(values.shape) for name, values in answer.items()}
        assert shapes == {"boxes": (0, 50, 4), "normalized_boxes": (0, 50, 4)} | dict.fromkeys(
            ("scores", "valid", "levels"), (0, 50)
        )


def test_bombs_and_images_that_end_early_are_not_decoded(signatures, encoded_image):
    bomb = b"RIFF\x1a\0\0\0WEBPVP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f"
    jpeg = encoded_image("JPEG", 40, 50)
    early = jpeg[: int(len(jpeg) * 0.8)] + b"\xff\xd9"
    answer = signatures["encoded"](image_bytes=tf.constant([bomb, early, encoded_image("WEBP", 40, 50), jpeg]))
    assert answer["decoded"].numpy().tolist() == [False, False, True, True]
    assert not answer["valid"].numpy()[:2].any()
