import fcntl
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("no time limits", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no time limits")

# The longest first, so that the workers of `pytest -n` end together.
LONG = (
    "test_distribution.py",
    "test_backends.py",
    "test_formats.py",
    "test_run.py",
    "test_faults.py",
    "test_loading.py",
    "test_detector_run.py",
    "test_detectors.py",
    "test_saved_model.py",
    "test_client.py",
)
LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_finish():
    """Graphs are many objects that live on: with Python's own thresholds, collecting takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(items):
    """Long files first, in the order of `LONG`."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


def pytest_deselected(items):
    """Counts the slow tests that `-m "not slow"` leaves out."""
    slow = sum(item.get_closest_marker("slow") is not None for item in items)
    for item in items[:1]:
        item.config.stash[LEFT_OUT] = item.config.stash.get(LEFT_OUT, 0) + slow


def pytest_sessionfinish(session):
    """A worker of pytest-xdist tells the number to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Every worker collects all tests, so that each has the whole number."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter, config):
    """Says how many slow tests did not run, and what runs them."""
    if config.option.markexpr and (number := config.stash.get(LEFT_OUT, 0)):
        terminalreporter.write_line(f"{number} slow tests left out; `make test-all` runs them too")


def pytest_make_parametrize_id(val):
    """Names that can be read in a report; pytest tells equal ones apart by a number."""
    if isinstance(val, bytes):
        return f"{len(val)} bytes"
    if isinstance(val, str) and (len(val) > 24 or not val.isprintable()):
        return " ".join(val[:24].split()) + "..."
    return None


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a folder of real images, or skips the test."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("ZIP_KERAS_DATA", "data")) / name
        if not folder.is_dir():
            pytest.skip(f"{folder} is missing: set ZIP_KERAS_DATA to the folder that holds {name}")
        return folder

    return find


@pytest.fixture(scope="session")
def voc(real_data) -> Path:
    """The VOC 2007 devkit."""
    return real_data("voc07")


@pytest.fixture(scope="session")
def run_lazily() -> Callable[[str], str]:
    """Runs a Python program in a process like the command line's, which imports TensorFlow only when it needs it."""

    def run(program: str) -> str:
        environment = {**os.environ, "ZIP_KERAS_LAZY": "1"}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def rendered_devkit(tmp_path_factory) -> Path:
    """A VOC devkit of 20 rendered scenes: splits `train` and `val`."""
    from zip_keras.data.synthetic import write_devkit

    folder = tmp_path_factory.mktemp("scenes") / "devkit"
    write_devkit(str(folder), scenes=20, seed=3)
    return folder


def _proposer(config, max_proposals, short_side):
    """Random weights whose scores and deltas spread as a trained network's do."""
    import keras
    import numpy as np

    import zip_keras

    keras.utils.set_random_seed(1)
    network = zip_keras.ProposalNetwork(config)
    outputs = network(np.random.default_rng(1).uniform(0, 255, (1, 128, 160, 3)).astype("float32"))
    for level in (1, 2, 3):
        head = network.get_layer(f"head_{level}")
        for layer, output, spread in ((head.score, "logits", 2.0), (head.deltas, "deltas", 0.3)):
            layer.kernel.assign(layer.kernel * (spread / np.std(outputs[output][level - 1])))
    postprocess = zip_keras.PostprocessConfig(max_proposals=max_proposals)
    return zip_keras.Proposer(network, postprocess, short_sides=short_side, long_side=2 * short_side)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`shared_folder(name, make)`: what `make(folder)` writes, made by one worker of `pytest -n` for all."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def shared(name: str, make: Callable[[Path], object]) -> Path:
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder := root / "shared" / name).exists():
                make(folder)
        return folder

    return shared


@pytest.fixture(scope="session")
def small_proposer():
    """Few layers, for tests of what is around a network."""
    from tests.tiny_backbone import TINY_MODEL

    return _proposer(TINY_MODEL, 50, 128)


@pytest.fixture(scope="session")
def mad_proposer():
    """A narrow network with everything that the method has: Inception-BN, a zoom-in stream and MAD."""
    from zip_keras.config import ModelConfig

    return _proposer(ModelConfig(width=0.125, zoom_in="released", head_channels=16), 50, 128)


@pytest.fixture(scope="session")
def tiny_detector():
    """A detector of one stage with few layers and random weights."""
    from tests.models.test_detectors import one_stage, spread
    from zip_keras.models.detector import Detector

    return Detector(spread(one_stage()), short_sides=64, long_side=96)


@pytest.fixture(scope="session")
def tiny_detector_export(tiny_detector, tmp_path_factory) -> Path:
    """`exported/NAME` with `tiny_detector` as version 1, by the command from the file of a run."""
    from zip_keras.cli.main import main
    from zip_keras.config import DetectorConfig, ExperimentConfig
    from zip_keras.config.files import config_text

    run, folder = tmp_path_factory.mktemp("detector_run"), tmp_path_factory.mktemp("exported") / "detector"
    tiny_detector.save(run / "best.keras")
    (run / "config.yaml").write_text(config_text(ExperimentConfig(detector=DetectorConfig(kind="one_stage"))))
    assert main(["export", "--model", str(run), "--output", str(folder), "--licence", "CC BY 4.0"]) == 0
    return folder


@pytest.fixture(scope="session")
def small_propose(small_proposer):
    """`small_proposer` as a function of one image, traced once: a trace takes seconds."""
    from zip_keras.inference.runner import InferenceRunner

    return InferenceRunner(small_proposer)


@pytest.fixture(scope="session")
def small_run(small_proposer, tmp_path_factory) -> Path:
    """A run folder that holds `small_proposer`."""
    folder = tmp_path_factory.mktemp("run")
    small_proposer.save(folder / "last.keras")
    return folder


@pytest.fixture(scope="session")
def small_export(small_proposer, shared_folder) -> Path:
    """`exported/NAME` with `small_proposer` as version 1."""
    from zip_keras.export.saved_model import export_model

    return shared_folder("small", lambda folder: export_model(small_proposer, folder))


@pytest.fixture(scope="session")
def encoded_image() -> Callable[..., bytes]:
    """`encoded_image("JPEG", height, width, mode="RGB")`: an image file's bytes, smooth enough to have structure."""
    import io

    import numpy as np
    from PIL import Image

    def encode(kind: str, height: int, width: int, mode: str = "RGB", **options) -> bytes:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        waves = [np.sin(x / 7 + y / 13), np.cos(x / 11), np.sin(y / 5) * np.cos(x / 3)]
        pixels = (127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
        return buffer.getvalue()

    return encode
