"""Cost of a network: parameters, multiply-adds, and time of a forward pass and of the parts of inference."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.inference.inputs import EncodedImage
from zip_keras.inference.runner import load_image, load_images
from zip_keras.models.proposer import Proposer

WARM_UP = 3  # untimed forward passes
REPEATS = 20

# Counted operations, with the kernel axes over which one output value sums.
_CONVOLUTIONS = {"Conv2D": (0, 1, 2), "DepthwiseConv2dNative": (0, 1)}
_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
_TRANSPOSED = "Conv2DBackpropInput"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase")
# Operations with multiply-adds that this module cannot count. They raise an error instead of being ignored.
_UNCOUNTED = ("Conv3D", "Conv3DBackpropInputV2", "Einsum", "_FusedConv2D", "_FusedMatMul", "XlaConvV2", "XlaDotV2")


@dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Attributes:
        height, width: input size in pixels; the batch size is 1.
        parameters: number of weights, including batch norm statistics.
        multiply_adds: multiply-adds of convolutions and matrix products in one forward pass.
        milliseconds: median of `repeats` forward passes.
        repeats: number of timed passes, after `WARM_UP` untimed ones.
    """

    height: int
    width: int
    parameters: int
    multiply_adds: int
    milliseconds: float
    repeats: int

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations; a multiply-add counts as two."""
        return 2 * self.multiply_adds / 1e9


def multiply_adds(model: keras.Model, height: int, width: int) -> int:
    """Count the multiply-adds of a model's convolutions and matrix products in one forward pass over one RGB image.

    The count is taken from the TensorFlow graph for this input size, so it does not depend on the kinds of layers. Bias
    additions, activations, batch norms, pooling and resizing are not counted; they are about 1 % in the networks here.
    By the usual convention, GFLOPs are twice this number / 1e9.

    Args:
        model: takes images `[batch, height, width, 3]`.
        height, width: input size in pixels.

    Raises:
        ValueError: the graph contains a loop, a branch, or an operation whose multiply-adds cannot be counted.
    """
    return graph_multiply_adds(_traced(model, height, width).graph)


def measure_cost(model: keras.Model, height: int, width: int, repeats: int = REPEATS) -> Cost:
    """Count a model's parameters and multiply-adds, and time its forward pass as a graph with batch size 1.

    The image is uniform noise. The time is wall time, so it includes the effect of other load on the machine.

    Args:
        model: takes float32 images `[1, height, width, 3]`.
        height, width: input size in pixels.
        repeats: number of timed passes; the median is reported.
    """
    traced = _traced(model, height, width)
    image = tf.random.stateless_uniform([1, height, width, 3], seed=(0, 0), maxval=255.0)
    times = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        _ = [output.numpy() for output in tf.nest.flatten(traced(image))]  # waits for the result
        times.append(time.perf_counter() - start)
    milliseconds = 1000 * statistics.median(times[WARM_UP:])
    return Cost(height, width, model.count_params(), graph_multiply_adds(traced.graph), milliseconds, repeats)


def time_prediction(proposer: Proposer, image: np.ndarray, repeats: int = REPEATS) -> dict[str, list[float]]:
    """Time the parts of inference in seconds. They are measured in turns, so that other load affects all equally.

    Args:
        proposer: a proposer without flip; of several scales, the parts use the first.
        image: uint8 `[H, W, 3]`.
        repeats: number of timed turns, after `WARM_UP` untimed ones.

    Returns:
        `repeats` times for each of "resizing", "network", "post-processing" (from network outputs to boxes) and
        "whole".
    """
    images = tf.convert_to_tensor(image[None])
    resize = tf.function(proposer.resizings[0], autograph=False)
    forward = tf.function(lambda resized: proposer.network(resized, training=False), autograph=False)
    finish = tf.function(
        lambda outputs, resized: proposer.postprocess([outputs], [resized], *image.shape[:2]), autograph=False
    )
    whole = tf.function(lambda given: proposer(given, training=False), autograph=False)
    times: dict[str, list[float]] = {}
    for _ in range(WARM_UP + repeats):
        resized = _clocked(times, "resizing", resize, images)
        outputs = _clocked(times, "network", forward, resized)
        _clocked(times, "post-processing", finish, outputs, resized)
        _clocked(times, "whole", whole, images)
    return {part: values[WARM_UP:] for part, values in times.items()}


def time_stream(
    propose: Callable[[np.ndarray], Any], images: Sequence[EncodedImage], chunk: int = 50
) -> dict[str, float]:
    """Time many images: the model on decoded images, and the whole way from files to boxes as in `propose_records`.

    Both are measured in turns, chunk by chunk, so that other load affects both equally.

    Args:
        propose: maps an image, uint8 `[H, W, 3]`, to its boxes, for example an `InferenceRunner`.
        images: at least one image. The first is run once untimed to build the graph.
        chunk: number of decoded images in memory at the same time.

    Returns:
        Seconds for all images: "model" is the model alone; "stream" is reading, decoding and the model together.

    Raises:
        UserError: an image cannot be read.
    """
    seconds = {"model": 0.0, "stream": 0.0}
    propose(load_image(images[0]))
    for first in range(0, len(images), chunk):
        part = images[first : first + chunk]
        decoded = [load_image(image) for image in part]
        start = time.perf_counter()
        for pixels in decoded:
            propose(pixels)
        between = time.perf_counter()
        for _, loaded in load_images(part):
            if isinstance(loaded, UserError):
                raise loaded
            propose(loaded)
        seconds["model"] += between - start
        seconds["stream"] += time.perf_counter() - between
    return seconds


def _clocked(times: dict[str, list[float]], part: str, function: Callable, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    _ = [output.numpy() for output in tf.nest.flatten(result)]  # waits for the result
    times.setdefault(part, []).append(time.perf_counter() - start)
    return result


def _traced(model: keras.Model, height: int, width: int):
    """The concrete function of a forward pass at one size, so that all shapes in its graph are known."""
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    return forward.get_concrete_function(tf.TensorSpec([1, height, width, 3], tf.float32))


def graph_multiply_adds(graph: tf.Graph) -> int:
    """`multiply_adds` of a graph in which all shapes are known."""
    return sum(_of_operation(operation) for operation in graph.get_operations())


def _of_operation(operation: tf.Operation) -> int:
    """Multiply-adds of one operation; 0 if it is neither a convolution nor a matrix product."""
    kind = operation.type
    if kind in _CALLS:  # a function called once, for example a grouped convolution in Keras
        called = operation.graph._get_function(operation.get_attr("f").name)  # no public API gives shapes
        return graph_multiply_adds(called.graph)
    if kind in _LOOPS:
        raise ValueError(f"{operation.name}: how often {kind} runs is not known, so nothing can be counted")
    if kind in _UNCOUNTED:
        raise ValueError(f"{operation.name}: the multiply-adds of {kind} are not known here")
    if kind in _CONVOLUTIONS:  # each output value sums over these axes of the kernel
        kernel = _shape(operation.inputs[1])
        return math.prod(_shape(operation.outputs[0])) * math.prod(kernel[axis] for axis in _CONVOLUTIONS[kind])
    if kind == _TRANSPOSED:  # each input value is multiplied with the kernel [height, width, out]
        return math.prod(_shape(operation.inputs[2])) * math.prod(_shape(operation.inputs[1])[:3])
    if kind in _PRODUCTS:
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        summed = _shape(operation.inputs[0])[-2 if transposed else -1]
        return math.prod(_shape(operation.outputs[0])) * summed
    return 0


def _shape(tensor: tf.Tensor) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"{tensor.name}: shape {tensor.shape} is not known before the run, so nothing can be counted")
    return tensor.shape.as_list()
