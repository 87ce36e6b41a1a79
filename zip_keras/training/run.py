"""One training run, from a config to the saved proposer."""

import contextlib
import dataclasses
import io
import math
import shutil
import signal
import sys
from collections.abc import Callable

import keras
import numpy as np
import orbit
import tensorflow as tf

from zip_keras.backbones import get_backbone
from zip_keras.config import ExperimentConfig
from zip_keras.data.checks.defects import ALL_KINDS
from zip_keras.data.pipeline.tf_data import training_batches
from zip_keras.data.records import Dataset
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.inference.inputs import IMAGE_SUFFIXES
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.proposer import Proposer
from zip_keras.presets import weights_file
from zip_keras.training.averaging import WeightAverage
from zip_keras.training.evaluator import RecallEvaluator
from zip_keras.training.optimizer import build_optimizer
from zip_keras.training.progress import RunProgress
from zip_keras.training.run_folder import RunFolder
from zip_keras.training.strategies import is_chief, make_strategy
from zip_keras.training.trainer import NonFiniteLossError, ProposalTrainer
from zip_keras.weights.npz import load_weights


def train(config: ExperimentConfig, run_dir: str, resume: bool = False) -> dict[str, float]:
    """Trains to `config.train.steps`; returns the last evaluation (empty without validation data).

    Everything is written into `run_dir`, see `run_folder.py`. An interrupt saves a checkpoint first.

    Raises:
        UserError: anything wrong with config, data, weights or checkpoints, and a loss that is NaN or infinite.
        KeyboardInterrupt: interrupted; `resume=True` goes on.
    """
    strategy = make_strategy(config.train)
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(config.train.dtype)
    folder = RunFolder(run_dir, chief=is_chief(strategy))
    dataset, validation = _open_data(config)
    folder.open(config, resume, dataset.digest())
    try:
        with _interrupt_on_terminate():
            return _Run(config, strategy, folder, dataset, validation).go()
    finally:
        keras.config.set_dtype_policy("float32")


class _Run:
    """The parts of one run, made in the order in which they depend on each other."""

    def __init__(self, config, strategy, folder: RunFolder, dataset: Dataset, validation: Dataset | None):
        self.config, self.strategy, self.folder, self.dataset = config, strategy, folder, dataset
        settings = config.train
        with strategy.scope():
            self.network = build_network(config, load=not _checkpoint(folder))  # a checkpoint holds them all
            self.optimizer = build_optimizer(settings, self.network.backbone_paths)
            self.optimizer.build(self.network.trainable_variables)
            self.global_step = tf.Variable(0, dtype=tf.int64, name="global_step")
            self.average = WeightAverage(self.network, settings.ema) if settings.ema else None
        self.manager = self._checkpoint_manager()
        self._restore()
        self.progress = RunProgress(folder, settings.steps, int(self.global_step.numpy()), settings.batch_size)
        self.best = folder.best_recall()
        with contextlib.redirect_stdout(io.StringIO()):  # orbit prints what our progress bar shows
            self.controller = self._controller(validation)

    def go(self) -> dict[str, float]:
        """Trains, evaluates and saves at every multiple of the configured intervals."""
        settings, result = self.config.train, {}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                interval = settings.evaluate_every
                if (step := int(self.global_step.numpy())) and not step % interval and not self.folder.evaluated(step):
                    result = self._evaluate_and_save()  # the evaluation was interrupted
                while (step := int(self.global_step.numpy())) < settings.steps:
                    self.controller.train(min((step // interval + 1) * interval, settings.steps))
                    result = self._evaluate_and_save()
                # A finished run resumed: measured and saved again, for other suppression or validation settings.
                result = result or self._evaluate_and_save()
        except NonFiniteLossError as error:
            raise self._explain(error) from None
        except KeyboardInterrupt:
            self.manager.save(checkpoint_number=int(self.global_step.numpy()), check_interval=False)
            self.progress.say(f"interrupted at step {int(self.global_step.numpy())}; --resume goes on from there")
            raise
        finally:
            self.controller.trainer.close()
            self.progress.close()
        return result

    def _evaluate_and_save(self) -> dict[str, float]:
        if not self.folder.chief:
            return {}
        result: dict[str, float] = {}
        self.proposer.network.set_weights(self._current_weights())
        self.folder.save_proposer(self.proposer, "last")
        if self.controller.evaluator is not None:
            result = dict(self.controller.evaluate())
            if result.get("AR@100", -1.0) > self.best:
                self.best = result["AR@100"]
                self.folder.save_proposer(self.proposer, "best")
            self.progress.show_evaluation(int(self.global_step.numpy()), result)  # noted when all of it is done
        return result

    def _current_weights(self) -> list[np.ndarray]:
        return self.average.values() if self.average is not None else self.network.get_weights()

    def _controller(self, validation: Dataset | None) -> orbit.Controller:
        settings = self.config.train
        trainer = ProposalTrainer(
            self.network,
            self.optimizer,
            self._batches(),
            strategy=self.strategy,
            batch_size=settings.batch_size,
            global_step=self.global_step,
            clip_norm=settings.clip_norm,
            average=self.average,
            on_step=self.progress.step,
        )
        evaluator = None
        if self.folder.chief:
            self.proposer = self._proposer()
            if validation is not None:
                summaries = tf.summary.create_file_writer(str(self.folder.tensorboard / "validation"))
                evaluator = RecallEvaluator(self.proposer, validation, summaries, self.global_step, self.progress.over)
        loop = math.gcd(settings.log_every, math.gcd(settings.evaluate_every, settings.checkpoint_every))
        return orbit.Controller(
            global_step=self.global_step,
            trainer=trainer,
            evaluator=evaluator,
            strategy=self.strategy,
            steps_per_loop=loop,
            summary_dir=str(self.folder.tensorboard / "train") if self.folder.chief else None,
            summary_interval=loop,
            eval_summary_dir=str(self.folder.tensorboard / "validation") if self.folder.chief else None,
            checkpoint_manager=self.manager,
            train_actions=[lambda output: self.progress.show_losses(int(self.global_step.numpy()), output)],
        )

    def _batches(self) -> tf.distribute.DistributedIterator:
        settings = self.config.train
        backbone = get_backbone(self.config.model.backbone)

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return training_batches(
                self.dataset,
                self.config.data,
                settings.batch_size,
                settings.seed,
                start_step=int(self.global_step.numpy()),
                shard=(context.input_pipeline_id, context.num_input_pipelines),
                pad_value=backbone.mean,
                replicas=context.num_replicas_in_sync // context.num_input_pipelines,
            )

        return iter(self.strategy.distribute_datasets_from_function(of_worker))

    def _proposer(self) -> Proposer:
        """A copy of the network for measuring and saving, float32, outside of the strategy."""
        keras.config.set_dtype_policy("float32")
        network = ProposalNetwork(self.config.model, self.config.targets, self.config.loss)
        keras.config.set_dtype_policy(self.config.train.dtype)
        data = self.config.data
        return Proposer(network, self.config.postprocess, data.short_side, data.long_side)

    def _checkpoint_manager(self) -> tf.train.CheckpointManager:
        parts = {"model": self.network, "optimizer": self.optimizer, "global_step": self.global_step}
        if self.average is not None:
            parts["average"] = self.average
        directory = self.folder.checkpoints
        if not self.folder.chief:  # every worker has to take part in saving; only the chief's files count
            directory = self.folder.path / f".worker-{self.strategy.cluster_resolver.task_id}"
            shutil.rmtree(directory, ignore_errors=True)  # else orbit would go on from there
        return tf.train.CheckpointManager(
            tf.train.Checkpoint(**parts),
            str(directory),
            max_to_keep=self.config.train.keep_checkpoints,
            step_counter=self.global_step,
            checkpoint_interval=self.config.train.checkpoint_every,
        )

    def _restore(self) -> None:
        newest = _checkpoint(self.folder)
        if newest is None:
            return
        try:
            self.manager.checkpoint.restore(newest).assert_existing_objects_matched()
        except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"{newest}: the checkpoint cannot be restored ({reason[:200]}); delete it, and its line in "
                f"{self.folder.checkpoints}/checkpoint, to go on from the one before"
            ) from None

    def _explain(self, error: NonFiniteLossError) -> UserError:
        names = ", ".join(self.dataset.records[i].file for i in error.indices)
        saved = _checkpoint(self.folder) or "none yet"
        return UserError(
            f"{error} on the images {names}; last good checkpoint: {saved}. Lower train.learning_rate, set "
            f"train.clip_norm or lengthen train.warmup_steps, and look at these images' boxes"
        )


def _checkpoint(folder: RunFolder) -> str | None:
    """The newest checkpoint of a run."""
    return tf.train.latest_checkpoint(str(folder.checkpoints))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def build_network(config: ExperimentConfig, say: Callable[[str], None] = _say, load: bool = True):
    """The network of a config with its starting weights: from a file, mirrored, frozen as asked.

    Args:
        config: the experiment.
        say: takes what there is to tell.
        load: whether to read the weights file; a run that goes on from a checkpoint needs none.

    Raises:
        UserError: the weights file does not fit, or `train.freeze` names no block.
    """
    settings = config.train
    if config.model.batch_norm == "frozen" and not settings.weights:
        raise UserError(
            "model.batch_norm is frozen, which needs pretrained weights; set train.weights, or model.batch_norm to "
            "synchronized to train from scratch"
        )
    network = ProposalNetwork(config.model, config.targets, config.loss)
    if settings.weights and load:
        report = load_weights(network, weights_file(settings.weights))
        say(f"{settings.weights}: {report}")
        backbone = network.backbone_paths
        missing = [line for line in report.kept if line.partition(":")[0] in backbone]
        if missing and config.model.batch_norm == "frozen":
            raise UserError(
                f"{settings.weights}: {len(missing)} variables of the backbone are not in it ({missing[0]}), and with "
                "model.batch_norm=frozen they would stay as random as they are; name weights of this backbone and width"
            )
        # Weights of a whole network bring a trained zoom-in stream, which must not be started anew.
        only_backbone = not any(path.startswith("zoom_in_") for path in report.loaded)
        if only_backbone and config.model.mirror_initialisation and get_backbone(config.model.backbone).mirror_weights:
            say(str(network.copy_mirror_weights()))
    if settings.freeze:
        names = list(network.backbone_layers)
        if settings.freeze != "backbone" and settings.freeze not in names:
            raise UserError(
                f"train.freeze {settings.freeze!r} is no block of the backbone; there are {', '.join(names)}"
            )
        last = len(names) if settings.freeze == "backbone" else names.index(settings.freeze) + 1
        for name in names[:last]:
            network.backbone_layers[name].trainable = False
    return network


def _open_data(config: ExperimentConfig) -> tuple[Dataset, Dataset | None]:
    """Training and validation data, the latter cut to `train.evaluate_images`; their class names must agree."""
    data = config.data
    if not data.train:
        raise UserError("data.train is empty; name a data set, for example data.train=data/voc07:train")
    dataset = open_dataset(data.train, on_defect=data.on_defect)
    if not dataset.records:
        raise UserError(f"data.train {data.train}: no images in it")
    _tell_skipped(dataset)
    dataset = _first(dataset, data.train_images)
    if not data.val:
        return dataset, None
    validation = open_dataset(data.val, classes=dataset.class_names, on_defect=data.on_defect)
    if not validation.records:
        raise UserError(f"data.val {data.val}: no images in it")
    _tell_skipped(validation)
    validation = _first(validation, config.train.evaluate_images)
    _check_measurable(validation)
    return dataset, validation


def _tell_skipped(dataset: Dataset) -> None:
    for kind, count in dataset.skipped.items():
        _say(f"{dataset.spec}: {count} x {ALL_KINDS.get(kind, kind)}, as data.on_defect says")


def _check_measurable(validation: Dataset) -> None:
    """Raises `UserError` before the training for what an evaluation would stumble on after hours of it."""
    from_dataset(validation)
    for record in validation.records:
        if record.length < 0 and not record.file.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                f"{record.file}: validation images must be {', '.join(IMAGE_SUFFIXES)}, which the exported model "
                "decodes; convert it, or prepare records with --on-bad-image repair"
            )


def _first(dataset: Dataset, count: int) -> Dataset:
    return dataclasses.replace(dataset, records=dataset.records[: count or None])


@contextlib.contextmanager
def _interrupt_on_terminate():
    """SIGTERM, which schedulers send, ends a run as an interrupt does: with a checkpoint."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
