"""Distribution strategies of a run: one device, all GPUs of a machine, or several machines."""

import json
import os

import tensorflow as tf

from zip_keras.config import TrainConfig
from zip_keras.errors import UserError


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Make the strategy of a run; call it before anything else initializes TensorFlow's devices.

    Raises:
        UserError: "multi_worker" without a valid TF_CONFIG, or more devices requested than available.
    """
    if config.strategy == "multi_worker":
        _check_tf_config()
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = (
        tf.config.list_logical_devices("GPU") if config.strategy == "auto" else tf.config.list_physical_devices("GPU")
    )
    if config.strategy == "mirrored":
        if gpus and config.devices > len(gpus):
            raise UserError(f"train.devices is {config.devices}, this machine has {len(gpus)} GPUs; lower it")
        if gpus:
            return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(config.devices or len(gpus))])
        return _mirrored_cpus(max(config.devices, 1))
    if config.strategy == "auto" and len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return resolver.task_type == first and resolver.task_id == 0


def _mirrored_cpus(count: int) -> tf.distribute.Strategy:
    """Replicas on logical CPU devices: slower than one device, but equivalent to several GPUs, for tests."""
    cpus = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:  # devices are already initialized, for example by a test
        available = len(tf.config.list_logical_devices("CPU"))
        if available < count:
            raise UserError(f"train.devices is {count}, TensorFlow was started with {available} CPU devices") from None
    return tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(count)], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _check_tf_config() -> None:
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, index = cluster["cluster"]["worker"], cluster["task"]["index"]
        if not 0 <= index < len(workers):
            raise ValueError(f"task index {index}, {len(workers)} workers")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"train.strategy=multi_worker needs the environment variable TF_CONFIG ({error}), for example "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
        ) from None
