"""Writing of datasets as TFRecord shards, in parallel and resumable. Every image is decoded once to check it.

Each shard is written under a temporary name and renamed when it is complete, then its index in the same way.
`dataset.json` is written last. With `resume`, a stopped run continues and skips the finished shards.
"""

import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.checks.image_files import judge_image
from zip_keras.data.checks.images import repair
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.data.tfrecord.container import write_record
from zip_keras.data.tfrecord.examples import to_example, write_label_map
from zip_keras.data.tfrecord.shards import (
    DATASET_FILE,
    JOB_FILE,
    LABEL_MAP_FILE,
    read_index,
    shard_paths,
    write_index,
)
from zip_keras.errors import UserError
from zip_keras.utils.files import atomic_write
from zip_keras.utils.reading import read_json

SHARD_BYTES = 128 * 1024 * 1024
Progress = Callable[[int], None]


def write_shards(
    dataset: Dataset,
    folder: str,
    log: DefectLog,
    *,
    shards: int | None = None,
    workers: int = 1,
    resume: bool = False,
    progress: Progress = lambda images: None,
) -> list[ImageRecord]:
    """Write a dataset into `folder`.

    Args:
        dataset: from `open_dataset`; it may itself come from shards.
        folder: output folder; it must not hold a dataset unless `resume` is set.
        log: its policy judges images; accepted defects are added to it.
        shards: number of files; None: about 128 MiB each, at least 8 if each gets 32 images.
        workers: number of processes; 1 runs in this process.
        resume: continue an earlier run with the same input and settings.
        progress: called with the number of images done since the last call.

    Returns:
        The records in the shards, in order.

    Raises:
        UserError: a bad image under the policy `error`, a folder in use, or a full disk.
    """
    records = dataset.records
    shards = shards or default_shards(records)
    if not 1 <= shards <= 99_999 or workers < 1:
        raise UserError(f"shards is {shards} and workers {workers}; both must be at least 1, shards below 100,000")
    shards = min(shards, len(records))
    job = fingerprint(dataset, shards, log)
    # A shard written under `error` has no defects, so it is the same under every policy.
    same = {job, fingerprint(dataset, shards, DefectLog())}
    _claim(folder, job, same, resume)
    tasks = []
    for number in range(shards):
        part = records[len(records) * number // shards : len(records) * (number + 1) // shards]
        path = os.path.join(folder, f"shard-{number:05d}-of-{shards:05d}.tfrecord")
        index = read_index(path)
        if index and index.job in same:
            progress(len(part))
        else:
            tasks.append(_Task(path, part, dataset.class_names, job, log.on_box, log.on_image))
    _run(tasks, workers, progress)
    written: list[ImageRecord] = []
    for number in range(shards):
        path = os.path.join(folder, f"shard-{number:05d}-of-{shards:05d}.tfrecord")
        index = read_index(path)
        if index is None:
            raise UserError(f"{path}: was changed or removed while the others were written; run again with --resume")
        written += index.records
        log.take_over(index.defects)
    if not written:
        raise UserError(f"{dataset.spec}: no image is left (skipped: {log.counts()})")
    write_label_map(os.path.join(folder, LABEL_MAP_FILE), dataset.class_names)
    summary = {
        "spec": dataset.spec,
        "class_names": list(dataset.class_names),
        "images": len(written),
        "objects": sum(len(record.boxes) for record in written),
        "shards": shards,
        "defects": log.counts(),
        "job": job,
    }
    _write_json(os.path.join(folder, DATASET_FILE), summary)
    return written


def default_shards(records: Sequence[ImageRecord]) -> int:
    """Number of shards of about `SHARD_BYTES`, estimated from 100 files; at least 8 if each gets 32 images."""
    sample = [_size(record) for record in records[:100]]
    total = sum(sample) / max(1, len(sample)) * len(records)
    return max(1, math.ceil(total / SHARD_BYTES), min(8, len(records) // 32))


def fingerprint(dataset: Dataset, shards: int, log: DefectLog) -> str:
    """A hash of the records, the classes, the number of shards and the policy."""
    digest = hashlib.sha256(json.dumps([dataset.class_names, shards, log.on_box, log.on_image]).encode())
    for r in dataset.records:
        digest.update(json.dumps([r.image_id, r.file, r.offset, r.length, r.height, r.width, _size(r)]).encode())
        for array in (r.boxes, r.classes, r.difficult, r.crowd, r.area):
            digest.update(array.tobytes())
    return digest.hexdigest()


def checked_image(record: ImageRecord, log: DefectLog) -> tuple[ImageRecord, bytes, str] | None:
    """Read and decode one image and judge its defects.

    Returns:
        The record, the image encoded as JPEG or PNG in the record's size, and "jpeg" or "png"; None if the image is
        skipped.

    Raises:
        UserError: a defect under the policy `error`.
    """
    judged = judge_image(record, log)
    if judged is None:
        return None
    data, info, to_repair = judged.data, judged.info, judged.to_repair
    image_format = "jpeg" if info.format in ("JPEG", "MPO") else "png"
    if info.format not in ("JPEG", "MPO", "PNG"):
        log.remark("reencoded", judged.shown, f"is {info.format}, stored as PNG")
        to_repair = True
    if to_repair:
        # Annotation tools show images upright, so boxes refer to the upright image unless the stated size differs.
        data = repair(data, judged.shown, upright=(record.height, record.width) == info.upright_size)
    return record, data, image_format


@dataclasses.dataclass(frozen=True)
class _Task:
    """One shard to write."""

    path: str
    records: Sequence[ImageRecord]
    class_names: Sequence[str]
    job: str
    on_box: Any
    on_image: Any

    def write(self, advance: Progress, stopped: Callable[[], bool]) -> None:
        log = DefectLog(self.on_box, self.on_image)
        written: list[ImageRecord] = []
        try:
            with atomic_write(self.path) as unfinished, open(unfinished, "wb") as file:
                for record in self.records:
                    if stopped():
                        raise _Stopped
                    found = checked_image(record, log)
                    if found:
                        kept, data, image_format = found
                        payload = to_example(kept, data, image_format, self.class_names)
                        offset = write_record(file, payload)
                        written.append(dataclasses.replace(kept, file=self.path, offset=offset, length=len(payload)))
                    advance(1)
                file.flush()
                os.fsync(file.fileno())
        except _Stopped:
            return
        write_index(self.path, written, self.class_names, job=self.job, defects=log.defects)


class _Stopped(Exception):
    """Another worker failed."""


def _run(tasks: Sequence[_Task], workers: int, progress: Progress) -> None:
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            task.write(progress, lambda: False)
        return
    # Workers use only NumPy and Pillow, so forking is safe and avoids the import of Keras in every worker.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    done, stop = context.Value("q", 0), context.Value("b", 0)
    shown = 0
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _start_worker, (done, stop)) as pool:
        futures: list[Future[None]] = [pool.submit(_work, task) for task in tasks]
        try:
            running: set[Future[None]] = set(futures)
            while running:
                finished, running = wait(running, timeout=0.2, return_when=FIRST_EXCEPTION)
                progress(done.value - shown)
                shown = done.value
                for future in finished:
                    future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process ended unexpectedly (out of memory?); run again with --resume and fewer --workers"
            ) from None
        finally:
            stop.value = 1
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}


def _start_worker(done: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells workers to stop
    parent = multiprocessing.parent_process()
    _worker.update(done=done, stop=stop, parent=parent)


def _work(task: _Task) -> None:
    def advance(images: int) -> None:
        with _worker["done"].get_lock():
            _worker["done"].value += images

    task.write(advance, lambda: bool(_worker["stop"].value) or not _worker["parent"].is_alive())


def _claim(folder: str, job: str, same: set[str], resume: bool) -> None:
    """Claim the folder for this job, or check that it belongs to it, and remove partial files of a killed run.

    A folder without a finished shard is free.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, JOB_FILE)
        if shard_paths(folder):
            if not resume:
                raise UserError(f"{folder}: already holds records; give another folder, or --resume to go on")
            if _read_job(path) not in same:
                raise UserError(
                    f"{folder}: was written from other data or other settings; give the same ones, or another folder"
                )
        for name in os.listdir(folder):
            if name.endswith(".part"):
                os.unlink(os.path.join(folder, name))
        _write_json(path, {"job": job})
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from None


def _read_job(path: str) -> str | None:
    try:
        return read_json(path)["job"]
    except (UserError, KeyError, TypeError):
        return None


def _write_json(path: str, content: object) -> None:
    with atomic_write(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def _size(record: ImageRecord) -> int:
    if record.in_shard:
        return record.length
    try:
        return os.path.getsize(record.file)
    except OSError:
        return -1
