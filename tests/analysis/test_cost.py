"""Multiply-adds against sums worked out by hand, and against TensorFlow's own profiler."""

import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from zip_keras.analysis import cost
from zip_keras.analysis.cost import measure_cost, multiply_adds
from zip_keras.cli import main
from zip_keras.config import AnchorConfig, ModelConfig
from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile
from zip_keras.models.proposal_network import ProposalNetwork


def profiler_flops(model, height, width):
    """FLOPs that TensorFlow's profiler counts for convolutions and matrix products."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    forward = tf.function(lambda x: model(x, training=False))
    concrete = forward.get_concrete_function(tf.TensorSpec([1, height, width, 3], tf.float32))
    graph = convert_variables_to_constants_v2(concrete).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    options = options.with_accounted_types(["Conv2D", "DepthwiseConv2dNative", "MatMul"]).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=options, cmd="op").total_float_ops


def test_each_kind_of_layer_by_hand():
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same")(image)  # 6 x 10 x 8 outputs of 3 * 3 * 3
    x = layers.DepthwiseConv2D(5, padding="same")(x)  # 6 x 10 x 8 outputs of 5 * 5
    x = layers.Conv2D(4, 1, groups=2)(x)  # 6 x 10 x 4 outputs of 4
    x = layers.Conv2DTranspose(2, 4, strides=2, padding="same")(x)  # 6 x 10 x 4 inputs, each to 4 * 4 * 2
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(7)(x)  # 2 * 7
    model = keras.Model(image, x)
    by_hand = 480 * 27 + 480 * 25 + 240 * 4 + 240 * 32 + 14
    assert multiply_adds(model, 12, 20) == by_hand
    assert multiply_adds(model, 24, 20) == 2 * (by_hand - 14) + 14  # twice the pixels


def test_a_dense_layer_on_a_map_counts_every_place():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Dense(5)(image))
    assert multiply_adds(model, 4, 6) == 4 * 6 * 3 * 5


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["mad", "add"])
def test_the_proposal_network_agrees_with_tensorflows_profiler(merge):
    config = ModelConfig(
        width=0.125, zoom_in="released", merge=merge, head_channels=8, anchors=AnchorConfig(ratios=(1.0,))
    )
    network = ProposalNetwork(config)
    measured = measure_cost(network, 64, 96, repeats=3)
    assert 2 * measured.multiply_adds == profiler_flops(network, 64, 96)
    assert measured.gflops == pytest.approx(2e-9 * measured.multiply_adds)
    assert measured.parameters == sum(
        weight.shape.num_elements() for weight in map(tf.convert_to_tensor, network.weights)
    )
    assert measured.milliseconds > 0


def test_what_cannot_be_counted_is_refused():
    image = keras.Input((None, None, 3))
    einsum = keras.Model(image, layers.EinsumDense("bhwc,cd->bhwd", (None, None, 5))(image))
    with pytest.raises(ValueError, match="the multiply-adds of Einsum are not known"):
        multiply_adds(einsum, 4, 4)

    class Repeated(keras.Model):
        """A convolution as often as the image's brightness says."""

        def __init__(self):
            super().__init__()
            self.convolution = layers.Conv2D(3, 1)
            self.convolution.build((None, None, None, 3))

        def call(self, x):
            return tf.while_loop(lambda y: tf.reduce_sum(y) < 0.0, lambda y: (self.convolution(y),), (x,))[0]

    with pytest.raises(ValueError, match=r"how often .*While runs is not known"):
        multiply_adds(Repeated(), 4, 4)


def test_parts_of_prediction_are_timed_in_turns(small_proposer, monkeypatch):
    # The processor's own time: a pause of a busy machine must not make a part longer than the whole.
    monkeypatch.setattr(cost, "time", types.SimpleNamespace(perf_counter=time.process_time))
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    times = cost.time_prediction(small_proposer, image, repeats=2)
    assert {part: len(values) for part, values in times.items()} == dict.fromkeys(
        ("resizing", "network", "post-processing", "whole"), 2
    )
    assert min(times["whole"]) > min(times["resizing"])


def test_the_parts_make_the_whole(small_proposer):
    """What is timed as post-processing ends in the list that the proposer gives."""
    image = np.random.default_rng(1).integers(0, 256, (1, 90, 120, 3), np.uint8)
    resized = small_proposer.resizings[0](image)
    found = small_proposer.postprocess([small_proposer.network(resized)], [resized], 90, 120)
    np.testing.assert_array_equal(found.boxes, small_proposer(image)["boxes"])


def test_a_stream_is_timed_with_and_without_reading(tmp_path, encoded_image, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(cost, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    images = []
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encoded_image("PNG", 20, 30 + number))
        images.append(ImageFile(number, str(tmp_path / f"{number}.png")))
    widths = []
    seconds = cost.time_stream(lambda pixels: widths.append(pixels.shape[1]), images, chunk=3)
    assert widths == [30, *[30, 31, 32] * 2, *[33, 34] * 2]
    assert seconds == {"model": 20, "stream": 20}
    (tmp_path / "4.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"4\.png: does not decode"):
        cost.time_stream(lambda pixels: None, images)


def test_the_command_times_a_stream(small_run, tmp_path, encoded_image, capsys):
    (tmp_path / "1.png").write_bytes(encoded_image("PNG", 60, 80))
    (tmp_path / "2.png").write_bytes(encoded_image("PNG", 60, 80))
    assert main(["benchmark_prediction", str(tmp_path), "--stream", "2", "--model", str(small_run)]) == 0
    assert "2 images of" in (printed := capsys.readouterr().out)
    assert "times as long as the model" in printed
