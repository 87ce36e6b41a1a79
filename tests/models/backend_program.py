"""Runs the network on the backend that KERAS_BACKEND names, with TensorFlow out of reach; see test_backends.py.

Usage: backend_program.py FOLDER, which holds inputs.npz, weights of every network as NAME.npz, and 0.png .. 3.png,
and gets results.npz.
"""

import sys
from pathlib import Path

sys.modules["tensorflow"] = None  # importing it is an error from here on
sys.path.append(str(Path(__file__).parents[2]))

# First, before anybody imported Keras: a module of ours may be the one that does.
from zip_keras.models.proposal_network import ProposalNetwork  # noqa: E402, I001
from zip_keras.models.proposer import Proposer  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

from tests.models.test_detectors import one_stage, two_stage  # noqa: E402
from tests.tiny_backbone import TINY_MODEL  # noqa: E402
from zip_keras.config import DataConfig, ModelConfig, PostprocessConfig, TargetConfig  # noqa: E402
from zip_keras.data.pipeline.numpy_loader import NumpyLoader  # noqa: E402
from zip_keras.data.records import Dataset, ImageRecord  # noqa: E402
from zip_keras.layers.resizing import ShortSideResizing  # noqa: E402
from zip_keras.models.detector import Detector  # noqa: E402
from zip_keras.targets.matching import assign  # noqa: E402
from zip_keras.targets.sampling import random_numbers  # noqa: E402
from zip_keras.training.optimizer import DecayedSGD  # noqa: E402
from zip_keras.weights.npz import load_weights  # noqa: E402

NARROW = ModelConfig(width=0.125, zoom_in="released", head_channels=16)
# JAX takes 20 s to compile a step of the one above.
SMALL = ModelConfig(width=0.0625, head_channels=16, zoom_in="none", refinement_steps=1)
CONFIGS = {"narrow": NARROW, "small": SMALL}
POSTPROCESS = PostprocessConfig(pre_nms_top_n=200, thresholds=(0.6,), counts=(60,), max_proposals=30)


def compiled(function):
    """JAX compiles every operation by itself unless told to take the function whole."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def answers(narrow, small, inputs) -> dict[str, np.ndarray]:
    """What every backend must agree on, by name: outputs, losses, labels, random numbers, resized images, proposals."""
    images = inputs["images"]
    y = {name.removeprefix("y_"): inputs[name] for name in inputs if name.startswith("y_")}
    outputs = narrow.predict_on_batch(images)
    labels = compiled(lambda anchors, y: assign(anchors, y, TargetConfig(), gray=True))(inputs["anchors"], y).labels
    recursive = small.predict_on_batch(images)
    height, width = images.shape[1:3]
    scored = compiled(lambda outputs: small.scored_boxes(outputs, height, width, steps=2))
    refined_boxes, refined_scores = scored(recursive)
    losses = compiled(small.image_losses)(images, y, recursive)
    proposals = Proposer(small, POSTPROCESS, short_sides=48, long_side=96).predict_on_batch(inputs["photographs"])
    return {
        **{f"{kind}_{i}": x for kind, levels in outputs.items() for i, x in enumerate(levels)},
        **{f"loss_{name}": ops.convert_to_numpy(x) for name, x in losses.items()},
        **{f"refined_boxes_{i}": ops.convert_to_numpy(x) for i, x in enumerate(refined_boxes)},
        **{f"refined_scores_{i}": ops.convert_to_numpy(x) for i, x in enumerate(refined_scores)},
        "labels": ops.convert_to_numpy(labels),
        "random": ops.convert_to_numpy(random_numbers(inputs["seeds"], np.arange(1000, dtype="int32"))),
        "resized": ops.convert_to_numpy(ShortSideResizing(30, 96)(inputs["photographs"])),
        **{f"proposal_{name}": x for name, x in proposals.items()},
    }


def detector_answers(one_stage, two_stage, inputs) -> dict[str, np.ndarray]:
    """Outputs of both forms of detectors, those of the second stage for fixed RoIs, and detections."""
    images, results = inputs["images"], {}
    height, width = images.shape[1:3]
    for form, network in (("one_stage", one_stage), ("two_stage", two_stage)):
        detector = Detector(network, short_sides=None)
        outputs = compiled(lambda images, network=network: network(images, training=False))(images)
        answer = compiled(lambda outputs, detector=detector: detector.answer([outputs], [images], height, width))
        results |= {f"{form}_{kind}_{i}": x for kind, levels in outputs.items() for i, x in enumerate(levels)}
        results |= {f"{form}_found_{name}": x for name, x in answer(outputs).items()}
    rois = (outputs["maps"], inputs["roi_boxes"], inputs["roi_levels"])
    classified = compiled(lambda *rois: two_stage.roi_head(*rois, training=False, with_features=True))(*rois)
    results |= dict(zip(("roi_logits", "roi_deltas", "roi_features"), classified, strict=True))
    return {name: ops.convert_to_numpy(x) for name, x in results.items()}


def caffe_steps() -> dict[str, np.ndarray]:
    """A kernel and a bias of 1 after each of two steps with gradient 1/2."""
    kernel, bias = (keras.Variable(np.ones(shape, "float32")) for shape in ((1, 1), (1,)))
    optimizer = DecayedSGD(0.1, momentum=0.9, decay=0.01)
    values = []
    for _ in range(2):
        optimizer.apply([ops.full((1, 1), 0.5), ops.full((1,), 0.5)], [kernel, bias])
        values.append([float(ops.convert_to_numpy(x).item()) for x in (kernel, bias)])
    return {"caffe_steps": np.array(values)}


def learn(network, folder: str) -> dict[str, np.ndarray]:
    """The loss of each epoch of `fit` on four images."""
    box, no = np.array([[16, 16, 48, 48]], "float32"), np.zeros(1, bool)
    records = tuple(
        ImageRecord(i, f"{folder}/{i}.png", 64, 64, box, np.zeros(1, "int32"), no, no, np.float32([1024]))
        for i in range(4)
    )
    settings = DataConfig(resize="fixed", short_side=64, long_side=64, bucket_multiple=32)
    loader = NumpyLoader(Dataset("made:squares", ("square",), records), settings, 4, seed=0)
    network.compile(DecayedSGD(0.05, momentum=0.9, decay=5e-4))
    history = network.fit(loader, steps_per_epoch=4, epochs=5, shuffle=False, verbose=0)
    return {"epochs": np.array(history.history["loss"])}


def main(folder: str) -> None:
    with np.load(f"{folder}/inputs.npz") as content:
        inputs = {name: content[name] for name in content.files}
    proposers = {name: ProposalNetwork(c, TargetConfig(per_class=30)) for name, c in CONFIGS.items()}
    detectors = {"one_stage": one_stage(model=TINY_MODEL), "two_stage": two_stage(model=TINY_MODEL)}
    for name, network in {**proposers, **detectors}.items():
        report = load_weights(network, f"{folder}/{name}.npz")
        assert not report.kept
        assert not report.unused
    registered = "zip_keras>Proposer" in keras.saving.get_custom_objects()
    results = {
        **answers(inputs=inputs, **proposers),
        **detector_answers(inputs=inputs, **detectors),
        **caffe_steps(),
        **learn(proposers["small"], folder),
    }
    np.savez(f"{folder}/results.npz", backend=keras.backend.backend(), registered=registered, **results)


if __name__ == "__main__":
    main(sys.argv[1])
