"""A step is the same however its batch is split: over devices of one machine, over processes, over time."""

import contextlib
import json
import random
import re
import socket

import numpy as np
import pytest

from tests.training.tiny import weights_of


def largest_difference(one, other):
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert len(first) > 40
    largest = max(float(np.abs(first[name] - second[name]).max()) for name in first)
    print(f"largest difference of {len(first)} weights: {largest:.2g}")  # pytest -s shows it
    return largest


def changed(run_dir, start_dir):
    return largest_difference(run_dir, start_dir) > 1e-4


def test_an_overflow_on_any_replica_leaves_the_step_out(run_apart, tmp_path):
    """Scaled float16 gradients overflow at the start; the second replica's were once taken in."""
    half = ["train.dtype=mixed_float16", "train.clip_norm=0", "model.zoom_in=none", "train.steps=2"]
    one, two = tmp_path / "one", tmp_path / "two"
    run_apart((one, half, {}), (two, [*half, "train.strategy=mirrored", "train.devices=2"], {}))
    assert all(np.isfinite(values).all() for values in weights_of(two).values())
    assert largest_difference(two, one) < 1e-3


def free_ports(count):
    """Ports below those of outgoing connections, one of which could take a port before its server does."""
    found = []
    while len(found) < count:
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", random.randrange(20000, 32000)))
            found.append(free.getsockname()[1])
    return found


@pytest.fixture(scope="module")
def one_device(run_apart, tmp_path_factory):
    """The run that the others must equal, and the same run before its first step's effect (learning rate 0)."""
    run_dir, still = tmp_path_factory.mktemp("one") / "run", tmp_path_factory.mktemp("still") / "run"
    run_apart((run_dir, [], {}), (still, ["train.learning_rate=1e-12"], {}))
    assert changed(run_dir, still)
    return run_dir


def test_two_replicas_of_two_images_equal_one_of_four(run_apart, one_device, tmp_path):
    run_apart((tmp_path / "run", ["train.strategy=mirrored", "train.devices=2"], {}))
    assert largest_difference(tmp_path / "run", one_device) < 1e-6


def test_two_processes_equal_one(run_apart, one_device, tmp_path):
    def run(run_dir):
        workers = [f"127.0.0.1:{port}" for port in free_ports(2)]

        def environment(index):
            task = {"type": "worker", "index": index}
            return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})}

        run_apart(*((run_dir, ["train.strategy=multi_worker"], environment(i)) for i in range(2)))
        return run_dir

    try:
        run_dir = run(tmp_path / "run")
    except AssertionError as error:
        # TensorFlow gives a worker up that is silent for ten seconds, which happens on a machine that stalls.
        if "stopped sending heartbeats" not in str(error):
            raise
        run_dir = run(tmp_path / "again")
    assert largest_difference(run_dir, one_device) < 1e-6


def test_a_terminated_run_resumes_to_the_same_weights(run_apart, tmp_path, wait_for_step):
    long = ["train.steps=40", "train.evaluate_every=40", "train.checkpoint_every=20"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = run_apart.start(broken, long, {})
    assert wait_for_step(process, broken) != 0
    step = re.search(r"interrupted at step (\d+)", process.stderr.read()).group(1)
    assert (broken / "checkpoints" / f"ckpt-{step}.index").exists()  # though no checkpoint was due there
    assert not (broken / "last.keras").exists()
    run_apart((broken, [*long, "--resume"], {}), (whole, long, {}))
    assert largest_difference(broken, whole) == 0.0
