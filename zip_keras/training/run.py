"""One training run, from a config to the saved model."""

import contextlib
import errno
import io
import math
import os
import shutil
import signal

import keras
import orbit
import tensorflow as tf

from zip_keras.config import ExperimentConfig
from zip_keras.data.given import digest
from zip_keras.data.pipeline.tf_data import training_batches
from zip_keras.data.records import Dataset
from zip_keras.errors import UserError
from zip_keras.inference.given_proposals import open_given_proposals
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.training.averaging import WeightAverage
from zip_keras.training.checkpoints import find_checkpoints, prefix, record_checkpoints
from zip_keras.training.detection_evaluator import DetectionEvaluator
from zip_keras.training.evaluator import RecallEvaluator
from zip_keras.training.networks import new_network, new_predictor
from zip_keras.training.optimizer import build_optimizer
from zip_keras.training.progress import RunProgress
from zip_keras.training.run_data import open_data
from zip_keras.training.run_folder import RunFolder, say
from zip_keras.training.start import build_network
from zip_keras.training.strategies import is_chief, make_strategy
from zip_keras.training.trainer import NonFiniteLossError, ProposalTrainer

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def train(config: ExperimentConfig, run_dir: str, resume: bool = False) -> dict[str, float]:
    """Train up to `config.train.steps` and return the last evaluation (empty without validation data).

    All files are written into `run_dir`, see `run_folder.py`. An interrupt saves a checkpoint first.

    Raises:
        UserError: anything is wrong with config, data, weights or checkpoints, or a loss is NaN or infinite.
        KeyboardInterrupt: interrupted; `resume=True` continues the run.
    """
    strategy = make_strategy(config.train)
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(config.train.dtype)
    folder = RunFolder(run_dir, chief=is_chief(strategy))
    dataset, validation = open_data(config)
    given = open_given_proposals(config, dataset, validation)
    folder.open(config, resume, dataset.digest() + (digest(given[0]) if given[0] is not None else ""))
    try:
        with _interrupt_on_terminate():
            return _Run(config, strategy, folder, dataset, validation, given).go()
    except (OSError, tf.errors.OpError) as error:
        raise _explain_writing(error, folder) or error from None
    finally:
        keras.config.set_dtype_policy("float32")
        folder.close()


class _Run:
    """The parts of one run, created in the order of their dependencies."""

    def __init__(self, config, strategy, folder: RunFolder, dataset: Dataset, validation: Dataset | None, given):
        self.config, self.strategy, self.folder, self.dataset = config, strategy, folder, dataset
        self.train_proposals, self.val_proposals = given
        settings = config.train
        with strategy.scope():
            # A checkpoint contains all weights, so the weights files are not needed.
            load = not folder.found.readable
            self.network, whole = build_network(config, load=load, class_names=dataset.class_names)
            self.optimizer = build_optimizer(settings, self.network.backbone_paths)
            self.optimizer.build(self.network.trainable_variables)
            self.global_step = tf.Variable(0, dtype=tf.int64, name="global_step")
            self.average = WeightAverage(self.network, settings.ema) if settings.ema else None
        checkpoint = self._checkpoint()
        self._restore(checkpoint)
        self.manager = self._checkpoint_manager(checkpoint)
        self.progress = RunProgress(folder, settings.steps, int(self.global_step.numpy()), settings.batch_size)
        self.evaluate_start = whole if settings.evaluate_start is None else settings.evaluate_start
        self.best = folder.best_recall()
        folder.go_on_from(int(self.global_step.numpy()))
        with contextlib.redirect_stdout(io.StringIO()):  # the progress bar replaces the output of orbit
            self.controller = self._controller(validation)

    def go(self) -> dict[str, float]:
        """Train, and evaluate and save at every multiple of the configured intervals."""
        settings, result = self.config.train, {}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                interval = settings.evaluate_every
                if self.evaluate_start and not int(self.global_step.numpy()) and not self.folder.evaluated(0):
                    self._copy_weights()
                    self._evaluate()
                if (step := int(self.global_step.numpy())) and not step % interval and not self.folder.evaluated(step):
                    result = self._evaluate_and_save()  # the evaluation was interrupted
                while (step := int(self.global_step.numpy())) < settings.steps:
                    self.controller.train(min((step // interval + 1) * interval, settings.steps))
                    result = self._evaluate_and_save()
                # Resuming a finished run evaluates and saves it again, for changed NMS or validation settings.
                result = result or self._evaluate_and_save()
            self.progress.close()
            self._tell_gain()
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
        self._copy_weights()
        if self.folder.chief:
            self.folder.save_proposer(self.proposer, "last")
        return self._evaluate()

    def _evaluate(self) -> dict[str, float]:
        """Evaluate the proposer and save it if it is the best so far."""
        if not self.folder.chief or self.controller.evaluator is None:
            return {}
        result = dict(self.controller.evaluate())
        if result.get(self.folder.metric, -1.0) > self.best:
            self.best = result[self.folder.metric]
            self.folder.save_proposer(self.proposer, "best")
        self.progress.show_evaluation(int(self.global_step.numpy()), result)  # last: it marks the end
        return result

    def _tell_gain(self) -> None:
        """Print the improvement over the evaluation before the first step, if there was one."""
        before = self.folder.recall_at(0) if self.folder.chief else None
        if before is None:
            return
        name = self.folder.metric
        if self.best > before:
            self.progress.say(f"{name} {before:.3f} before the training, {self.best:.3f} at its best (best.keras)")
        else:
            self.progress.say(f"no evaluation was better than {name} {before:.3f} of the start, which is best.keras")

    def _copy_weights(self) -> None:
        """Copy the current weights, or their averages if configured, to the proposer."""
        if self.folder.chief:
            weights = self.average.values() if self.average is not None else self.network.get_weights()
            self.proposer.network.set_weights(weights)

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
                parts = (self.proposer, validation, summaries, self.global_step, self.progress.over)
                unseen = self.config.data.unseen_classes
                if self.config.detector.kind == "none":
                    evaluator = RecallEvaluator(*parts, unseen)
                else:
                    evaluator = DetectionEvaluator(*parts, unseen, proposals=self.val_proposals)
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

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return training_batches(
                self.dataset,
                self.config.data,
                settings.batch_size,
                settings.seed,
                start_step=int(self.global_step.numpy()),
                shard=(context.input_pipeline_id, context.num_input_pipelines),
                replicas=context.num_replicas_in_sync // context.num_input_pipelines,
                proposals=self.train_proposals,
            )

        return iter(self.strategy.distribute_datasets_from_function(of_worker))

    def _proposer(self) -> Proposer | Detector:
        """A float32 copy of the network for evaluation and saving, outside the strategy."""
        keras.config.set_dtype_policy("float32")
        network = new_network(self.config, self.dataset.class_names)
        keras.config.set_dtype_policy(self.config.train.dtype)
        return new_predictor(self.config, network)

    def _checkpoint(self) -> tf.train.Checkpoint:
        parts = {"model": self.network, "optimizer": self.optimizer, "global_step": self.global_step}
        if self.average is not None:
            parts["average"] = self.average
        return tf.train.Checkpoint(**parts)

    def _checkpoint_manager(self, checkpoint: tf.train.Checkpoint) -> tf.train.CheckpointManager:
        directory = self.folder.checkpoints
        if not self.folder.chief:  # all workers must take part in saving; only the files of the chief are used
            directory = self.folder.path / f".worker-{self.strategy.cluster_resolver.task_id}"
            shutil.rmtree(directory, ignore_errors=True)  # otherwise orbit would resume from there
        return tf.train.CheckpointManager(
            checkpoint,
            str(directory),
            max_to_keep=self.config.train.keep_checkpoints,
            step_counter=self.global_step,
            checkpoint_interval=self.config.train.checkpoint_every,
        )

    def _restore(self, checkpoint: tf.train.Checkpoint) -> None:
        """Restore the newest readable checkpoint that fits this network and print which one it is."""
        directory, found = self.folder.checkpoints, self.folder.found
        if not found.readable:
            return
        reasons = dict(found.damaged)
        for number, step in enumerate(found.readable):
            try:
                checkpoint.restore(prefix(directory, step)).assert_existing_objects_matched()
            except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
                reasons[step] = f"ckpt-{step}: {next(iter(str(error).splitlines()), type(error).__name__)[:200]}"
                continue
            if self.folder.chief:
                newer = [f"; passed over: {reason}" for other, reason in reasons.items() if other > step]
                say(f"{directory}: resuming from ckpt-{step} at step {step}{''.join(newer)}")
                record_checkpoints(directory, sorted(found.readable[number:]))
            return
        raise UserError(
            f"{directory}: no checkpoint fits this network ({'; '.join(reasons.values())}); nothing was changed. Put a "
            "copy back, or start a new run folder"
        )

    def _explain(self, error: NonFiniteLossError) -> UserError:
        names = ", ".join(self.dataset.records[i].file for i in error.indices)
        saved = self.manager.latest_checkpoint or "none yet"
        return UserError(
            f"{error} on the images {names}; last good checkpoint: {saved}. Lower train.learning_rate, set "
            f"train.clip_norm or lengthen train.warmup_steps, and look at these images' boxes"
        )


def _explain_writing(error: OSError | tf.errors.OpError, folder: RunFolder) -> UserError | None:
    """The error to report if the run folder can no longer be written; None for other errors."""
    text = str(error)
    reason = next((os.strerror(number) for number in DISK_FULL if os.strerror(number) in text), None)
    if reason is None and str(folder.path) in text:
        reason = text.partition("\n")[0][:200]
    if reason is None:
        return None
    try:
        steps = find_checkpoints(folder.checkpoints).readable
    except UserError:
        steps = ()
    saved = f"the checkpoint of step {steps[0]} is whole; --resume goes on from it" if steps else "no checkpoint yet"
    return UserError(f"{folder.path}: cannot be written ({reason}); {saved}")


@contextlib.contextmanager
def _interrupt_on_terminate():
    """Treat SIGTERM, which schedulers send, as an interrupt, so that a checkpoint is saved."""

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
