"""PyTorch and the independent implementations that converted backbones are compared with; using ours needs neither."""

import importlib.util
import types
from pathlib import Path

import keras
import numpy as np
import pytest


def require(package: str) -> Path:
    """The folder of an installed package, not imported; skips the test where it is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is missing: .ci/run installs it (pip install --no-deps {package}) and runs this test")
    return Path(next(iter(spec.submodule_search_locations)))


def require_torch() -> types.ModuleType:
    """PyTorch, on one thread; skips the test where it is missing."""
    torch = pytest.importorskip("torch", reason="PyTorch is missing: .ci/run installs it and runs this test")
    torch.set_num_threads(1)
    return torch


def module_of(file: Path) -> types.ModuleType:
    """One module by its file, without its package's other modules and their dependencies."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomise(torch, module, seed: int) -> None:
    """Random weights that keep activations of order one, and random statistics, scale and shift of every batch norm."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.data.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            fan_in = layer.weight[0].numel()
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
            if layer.bias is not None:
                uniform(layer.bias, -0.5, 0.5)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            uniform(layer.weight, 0.5, 1.5)
            uniform(layer.bias, -0.5, 0.5)
            uniform(layer.running_mean, -0.5, 0.5)
            uniform(layer.running_var, 0.5, 2.0)


def relative_difference(ours, theirs) -> float:
    """Largest difference relative to the largest value, of ours `[1, H, W, C]` and PyTorch's `[1, C, H, W]`."""
    theirs = theirs.detach().numpy().transpose(0, 2, 3, 1)
    ours = keras.ops.convert_to_numpy(ours)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def padded(image: np.ndarray, multiple: int = 32) -> np.ndarray:
    """`[H, W, 3]` with zeros at the bottom and right, by hand."""
    height, width, _ = image.shape
    result = np.zeros((-(-height // multiple) * multiple, -(-width // multiple) * multiple, 3), np.float32)
    result[:height, :width] = image
    return result
