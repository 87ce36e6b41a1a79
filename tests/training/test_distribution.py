"""A step is the same however its batch is split: over devices of one machine, over processes, over time."""

import contextlib
import json
import random
import re
import socket

import numpy as np
import pytest

from tests.training.tiny import start_weights, tiny_config, weights_of
from zip_keras.training.run import train

pytestmark = pytest.mark.slow


def largest_difference(one, other):
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert len(first) > 40
    largest = max(float(np.abs(first[name] - second[name]).max()) for name in first)
    print(f"largest difference of {len(first)} weights: {largest:.2g}")  # pytest -s shows it
    return largest


HALF = ("train.dtype=mixed_float16", "train.clip_norm=0", "train.steps=2")
TWO_DEVICES = ("train.strategy=mirrored", "train.devices=2")


@pytest.fixture(scope="module")
def here(devkit, tmp_path_factory):
    """Does a tiny run on one device in this process and returns its folder."""

    def run(*overrides, run_dir=None, resume=False):
        run_dir = run_dir or tmp_path_factory.mktemp("here") / "run"
        train(tiny_config(devkit, *overrides), str(run_dir), resume=resume)
        return run_dir

    return run


@pytest.fixture(scope="module")
def mirrored(run_apart, tmp_path_factory):
    """Folders of two runs on two devices: one of half precision, one of single precision."""
    folder = tmp_path_factory.mktemp("mirrored")
    half, single = (folder / "half", *HALF, *TWO_DEVICES), (folder / "single", *TWO_DEVICES)
    run_apart(((half, single), {}))
    return half[0], single[0]


@pytest.fixture(scope="module")
def one_device(here, devkit):
    """The run that the others must equal; it moves the weights."""
    run_dir = here()
    before, after = start_weights(tiny_config(devkit)), weights_of(run_dir)
    kernels = [name for name in before if name.endswith("kernel")]
    assert len(kernels) > 10
    assert max(float(np.abs(before[name] - after[name]).max()) for name in kernels) > 1e-4
    return run_dir


def test_an_overflow_on_any_replica_leaves_the_step_out(mirrored, here):
    """Scaled float16 gradients overflow at the start; the second replica's were once taken in."""
    assert all(np.isfinite(values).all() for values in weights_of(mirrored[0]).values())
    assert largest_difference(mirrored[0], here(*HALF)) < 1e-3


def test_two_replicas_of_two_images_equal_one_of_four(mirrored, one_device):
    assert largest_difference(mirrored[1], one_device) < 1e-6


def free_ports(count):
    """Ports below those of outgoing connections, one of which could take a port before its server does."""
    found = []
    while len(found) < count:
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", random.randrange(20000, 32000)))
            found.append(free.getsockname()[1])
    return found


# What a worker says that a busy machine kept from answering for ten seconds, or that lost its port to another program.
NOT_OUR_FAULT = re.compile(
    "stopped sending heartbeats|heartbeat timeout|Barrier timed out|Address already in use|Could not start gRPC"
)


def test_two_processes_equal_one(run_apart, one_device, tmp_path):
    for attempt in range(5):
        run_dir, workers = tmp_path / str(attempt) / "run", [f"127.0.0.1:{port}" for port in free_ports(2)]
        tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(2)]
        run = (run_dir, "train.strategy=multi_worker")
        try:
            run_apart(*(((run,), {"TF_CONFIG": json.dumps(task)}) for task in tasks))
            break
        except AssertionError as error:
            if attempt == 4 or not NOT_OUR_FAULT.search(str(error)):
                raise
    assert largest_difference(run_dir, one_device) < 1e-6


def test_a_terminated_run_resumes_to_the_same_weights(run_apart, here, tmp_path, wait_for_step):
    def long(steps):  # without an end before which the signal would have to come
        return (f"train.steps={steps}", "train.evaluate_every=1000000", "train.checkpoint_every=20")

    broken = tmp_path / "broken"
    code, said = wait_for_step(run_apart.start([(broken, *long(1000000))], {}), broken)
    assert code != 0
    step = int(re.search(r"interrupted at step (\d+)", said).group(1))
    assert (broken / "checkpoints" / f"ckpt-{step}.index").exists()  # though no checkpoint was due there
    assert not (broken / "last.keras").exists()
    here(*long(step + 10), run_dir=broken, resume=True)
    assert largest_difference(broken, here(*long(step + 10))) == 0.0
