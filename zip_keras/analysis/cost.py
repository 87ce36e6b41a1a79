"""What a network costs: parameters, multiply-adds and milliseconds of a forward pass; where a list's time goes."""

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

WARM_UP = 3  # forward passes before the clock starts
REPEATS = 20

# Operations whose multiply-adds are counted, with the axes of their kernel that one output number sums over.
_CONVOLUTIONS = {"Conv2D": (0, 1, 2), "DepthwiseConv2dNative": (0, 1)}
_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
_TRANSPOSED = "Conv2DBackpropInput"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase")
# Operations that multiply and add but that this module cannot count: better refused than left out.
_UNCOUNTED = ("Conv3D", "Conv3DBackpropInputV2", "Einsum", "_FusedConv2D", "_FusedMatMul", "XlaConvV2", "XlaDotV2")


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        height, width: of the input, in pixels; the batch is one image.
        parameters: numbers in all weights, statistics of batch norms included.
        multiply_adds: of convolutions and dense layers, in one forward pass.
        milliseconds: median of `repeats` forward passes.
        repeats: how many were timed, after `WARM_UP` that were not.
    """

    height: int
    width: int
    parameters: int
    multiply_adds: int
    milliseconds: float
    repeats: int

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations: a multiply-add counts as two."""
        return 2 * self.multiply_adds / 1e9


def multiply_adds(model: keras.Model, height: int, width: int) -> int:
    """Multiply-adds of a model's convolutions and matrix products in one forward pass over one RGB image.

    They are read off the graph that TensorFlow builds for this size, so what the graph computes is what is counted,
    whatever layers made it. Additions of biases, activations, batch norms, pools and resizing are left out: about 1 %
    in the networks here. GFLOPs by the usual convention are twice this number / 1e9.

    Args:
        model: takes images `[batch, height, width, 3]`.
        height, width: of the input, in pixels.

    Raises:
        ValueError: the graph holds a loop or branch, or an operation that multiplies and adds but cannot be counted.
    """
    return graph_multiply_adds(_traced(model, height, width).graph)


def measure_cost(model: keras.Model, height: int, width: int, repeats: int = REPEATS) -> Cost:
    """Counts a model's parameters and multiply-adds, and times its forward pass as a graph, one image at a time.

    The image is uniform noise; the clock reads wall time, so whatever else the machine does at that moment is in it.

    Args:
        model: takes float32 images `[1, height, width, 3]`.
        height, width: of the input, in pixels.
        repeats: forward passes of which the median is taken.
    """
    traced = _traced(model, height, width)
    image = tf.random.stateless_uniform([1, height, width, 3], seed=(0, 0), maxval=255.0)
    times = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        _ = [output.numpy() for output in tf.nest.flatten(traced(image))]  # done only when the numbers are there
        times.append(time.perf_counter() - start)
    milliseconds = 1000 * statistics.median(times[WARM_UP:])
    return Cost(height, width, model.count_params(), graph_multiply_adds(traced.graph), milliseconds, repeats)


def time_prediction(proposer: Proposer, image: np.ndarray, repeats: int = REPEATS) -> dict[str, list[float]]:
    """Seconds of the parts of prediction, measured in turns so that whatever else the machine does hits all alike.

    Args:
        proposer: without flip; of several scales the first is timed.
        image: uint8 `[H, W, 3]`.
        repeats: turns, after `WARM_UP` that are not kept.

    Returns:
        `repeats` times each of "resizing", "network", "post-processing" (from the network's numbers to the list) and
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
    """Seconds for many images: the model on decoded images, and files to boxes as `propose_records` does it.

    Chunk by chunk in turns, so that whatever else the machine does hits both alike.

    Args:
        propose: the boxes of an image, uint8 `[H, W, 3]`, for example an `InferenceRunner`.
        images: at least one. The first is run once before, which builds the graph.
        chunk: images that are decoded and in memory at once.

    Returns:
        "model": its time alone; "stream": reading, decoding and the model together.

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
    _ = [output.numpy() for output in tf.nest.flatten(result)]  # done only when the numbers are there
    times.setdefault(part, []).append(time.perf_counter() - start)
    return result


def _traced(model: keras.Model, height: int, width: int):
    """The concrete function of a forward pass at one size: every shape in its graph is known."""
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    return forward.get_concrete_function(tf.TensorSpec([1, height, width, 3], tf.float32))


def graph_multiply_adds(graph: tf.Graph) -> int:
    """`multiply_adds` of a graph in which every shape is known."""
    return sum(_of_operation(operation) for operation in graph.get_operations())


def _of_operation(operation: tf.Operation) -> int:
    """Multiply-adds of one operation; 0 for one that is neither convolution nor matrix product."""
    kind = operation.type
    if kind in _CALLS:  # a function called once, for example a grouped convolution of Keras
        called = operation.graph._get_function(operation.get_attr("f").name)  # no public way knows shapes
        return graph_multiply_adds(called.graph)
    if kind in _LOOPS:
        raise ValueError(f"{operation.name}: how often {kind} runs is not known, so nothing can be counted")
    if kind in _UNCOUNTED:
        raise ValueError(f"{operation.name}: the multiply-adds of {kind} are not known here")
    if kind in _CONVOLUTIONS:  # each output number is a sum over these axes of the kernel
        kernel = _shape(operation.inputs[1])
        return math.prod(_shape(operation.outputs[0])) * math.prod(kernel[axis] for axis in _CONVOLUTIONS[kind])
    if kind == _TRANSPOSED:  # each input number is spread over the kernel [height, width, out, in] but for `in`
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
