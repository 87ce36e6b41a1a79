"""Time of a detector's second stage beside its network's: RoI head, class-wise boxes and class-aware NMS.

    python benchmarks/second_stage.py configs/voc07_zip_mad.yaml --size 600 800 detector.head.width=256
    python benchmarks/second_stage.py configs/zip_lite.yaml --size 416 624 detector.head.width=256 \
        'detector.head.blocks=[1,1]'

Builds the two-stage detector of a config with random weights and runs its two parts in turns on one image of noise, so
that a busy machine slows both. The RoIs are made: as many of each level, of the sizes of its anchors. Decoding and NMS
of proposals are in neither part. Prints medians of the times and of the turns' ratios, and GFLOPs (twice the
multiply-adds of convolutions and products).
"""

import argparse
import dataclasses
import statistics
import time

import numpy as np
import tensorflow as tf

from zip_keras.analysis.cost import graph_multiply_adds, multiply_adds
from zip_keras.config.files import read_config
from zip_keras.models.detections import rank_detections
from zip_keras.models.postprocess import RankedBoxes
from zip_keras.models.two_stage import TwoStageNetwork
from zip_keras.training.networks import new_network
from zip_keras.utils.environment import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--size", nargs=2, type=int, default=(600, 800), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rois", type=int, default=300)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=10, help="turns that count")
    parser.add_argument("--warm-up", type=int, default=2, help="turns before them")
    arguments = parser.parse_intermixed_args()

    config = read_config(arguments.config, arguments.overrides)
    config = dataclasses.replace(config, detector=dataclasses.replace(config.detector, kind="two_stage"))
    network = new_network(config, [f"class_{i}" for i in range(arguments.classes)])
    assert isinstance(network, TwoStageNetwork)
    height, width = arguments.size
    image = tf.random.stateless_uniform([1, height, width, 3], seed=(0, 0), maxval=255.0)
    rois = made_rois(network, height, width, arguments.rois)

    forward = tf.function(lambda image: network(image, training=False))

    @tf.function
    def finish(outputs, rois):
        ranking = network.detector_config.postprocess
        found = network.candidates(outputs, height, width, ranking.pre_nms_top_n, given=rois)
        size = tf.constant([height, width], tf.float32)
        return rank_detections(found, size[0], size[1], arguments.classes, ranking)

    seconds: dict[str, list[float]] = {"network": [], "second stage": []}
    for _ in range(arguments.warm_up + arguments.repeats):
        outputs = clocked(seconds["network"], forward, image)
        clocked(seconds["second stage"], finish, outputs, rois)
    times = {part: statistics.median(values[arguments.warm_up :]) for part, values in seconds.items()}
    ratios = [b / a for a, b in zip(seconds["network"], seconds["second stage"], strict=True)][arguments.warm_up :]
    gflops = {
        "network": 2e-9 * multiply_adds(network.features, height, width),
        "second stage": 2e-9 * head_multiply_adds(network, rois.levels.numpy()),
    }
    head = network.detector_config.head
    print(f"{arguments.config} at {height} x {width}: head of width {head.width}, blocks {list(head.blocks)}")
    print(
        f"  {arguments.rois} RoIs, {arguments.classes} classes; {machine()['cores']} cores, {arguments.repeats} turns"
    )
    for part, value in times.items():
        print(f"  {part:<13} {1000 * value:9.1f} ms {gflops[part]:9.1f} GFLOP")
    print(f"  second stage / network: {statistics.median(ratios):.1%} ({min(ratios):.1%} to {max(ratios):.1%})")


def made_rois(network: TwoStageNetwork, height: int, width: int, count: int) -> RankedBoxes:
    """Boxes spread over an image, level by level in equal numbers."""
    rng = np.random.default_rng(0)
    levels = np.arange(count) % len(network.levels)
    scales = np.array([[min(scales), max(scales)] for scales in network.config.anchors.scales if scales])
    sides = rng.uniform(scales[levels, 0], scales[levels, 1])[:, None] * rng.uniform(0.7, 1.4, (count, 2))
    centres = rng.uniform(0, (height, width), (count, 2))
    boxes = np.clip(np.concatenate([centres - sides / 2, centres + sides / 2], axis=1), 0, [height, width] * 2)
    return RankedBoxes(
        tf.constant(boxes[None], tf.float32),
        tf.ones([1, count]),
        tf.ones([1, count], tf.bool),
        tf.constant(np.array(network.levels)[levels][None], tf.int32),
    )


def head_multiply_adds(network: TwoStageNetwork, levels: np.ndarray) -> int:
    """Of the convolution of each level, of the blocks and of the dense layers; RoIAlign is left out."""
    head, cells = network.roi_head, network.roi_head.pool_size**2
    rows = zip(head.map_levels, head.convolutions, strict=True)
    of_levels = sum(int((levels == level).sum()) * cells * int(np.prod(dense.kernel.shape)) for level, dense in rows)

    @tf.function
    def pooled_to_answers(x):
        for block in head.bottlenecks:
            x = block(x, training=False)
        x = tf.reduce_mean(x, axis=(1, 2))
        return head.score(x), head.deltas(x)

    shape = (levels.size, head.pool_size, head.pool_size, head.width)
    return of_levels + graph_multiply_adds(pooled_to_answers.get_concrete_function(tf.TensorSpec(shape)).graph)


def clocked(seconds: list[float], function, *arguments):
    started = time.perf_counter()
    result = function(*arguments)
    _ = [output.numpy() for output in tf.nest.flatten(result)]  # done only when the numbers are there
    seconds.append(time.perf_counter() - started)
    return result


if __name__ == "__main__":
    main()
