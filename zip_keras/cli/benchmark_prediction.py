"""`zip-keras benchmark_prediction`: time the parts of inference."""

import argparse
import statistics

from zip_keras.cli import _options
from zip_keras.errors import UserError
from zip_keras.inference.inputs import find_images
from zip_keras.inference.model_files import find_model
from zip_keras.presets import DEFAULT_PRESET
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Times the parts of prediction on one image: resizing, network, and post-processing (decoding, NMS, merging). The parts
alternate, so that load on the machine slows all of them. Prints medians, and post-processing as a share of the
network's time. With --stream N it times N images instead: the model on decoded images, and `propose` from files to
boxes, which reads images while the model runs."""
EXAMPLES = """\
  zip-keras benchmark_prediction photo.jpg
  zip-keras benchmark_prediction photo.jpg --model runs/mine --scales 600 --long-side 1000 --repeats 30
  zip-keras benchmark_prediction data/voc07:val --stream 300
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", metavar="IMAGE", help="image; its content affects the time of NMS. With --stream also a data set"
    )
    parser.add_argument(
        "--stream",
        type=_options.in_range(int, low=1),
        metavar="N",
        help="time the first N images of a folder, list or data set, from files to boxes",
    )
    _options.add_model_argument(parser, DEFAULT_PRESET)
    parser.add_argument(
        "--repeats",
        type=_options.in_range(int, low=1),
        default=20,
        metavar="N",
        help="number of repetitions (default: 20)",
    )
    _options.add_inference_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    if arguments.stream:
        _stream(arguments)
        return
    if arguments.flip or arguments.multi_scale or len(arguments.scales or ()) > 1:
        raise UserError(
            "the parts are timed at one scale without flip; leave out --flip, --multi-scale and all but one of --scales"
        )
    options = _options.inference_options(arguments)
    find_model(arguments.model)
    images, _ = find_images([arguments.image])
    start_tensorflow(arguments.device)
    from zip_keras.analysis.cost import time_prediction
    from zip_keras.inference.loading import load_keras_proposer
    from zip_keras.inference.runner import load_image

    image = load_image(images[0])
    proposer = options.apply(load_keras_proposer(arguments.model))
    times = {
        part: statistics.median(values) for part, values in time_prediction(proposer, image, arguments.repeats).items()
    }
    height, width = image.shape[:2]
    scales = ", ".join(map(str, proposer.short_sides))
    print(f"{arguments.model}: {width} x {height} pixels, short side {scales}, median of {arguments.repeats} turns")
    for part, seconds in times.items():
        print(f"  {part:<15} {1000 * seconds:8.1f} ms")
    print(f"  post-processing is {times['post-processing'] / times['network']:.1%} of the network's time")


def _stream(arguments: argparse.Namespace) -> None:
    options = _options.inference_options(arguments)
    model = find_model(arguments.model)
    images = find_images([arguments.image])[0][: arguments.stream]
    start_tensorflow(arguments.device)
    from zip_keras.analysis.cost import time_stream
    from zip_keras.inference.loading import load_proposer

    seconds = time_stream(load_proposer(model, options=options), images)
    print(f"{arguments.model}: {len(images)} images of {arguments.image}")
    print(f"  model on decoded images {seconds['model']:8.1f} s")
    print(f"  files to boxes          {seconds['stream']:8.1f} s")
    print(f"  files to boxes takes {seconds['stream'] / seconds['model']:.2f} times as long as the model")
