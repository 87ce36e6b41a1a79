"""Batch job on Apache Beam that predicts on image files or TFRecords and writes shards of boxes to a folder.

A shard is the unit of work and of restart. Its two files are written atomically, `bad-*.jsonl` first. If
`boxes-*.parquet` exists, the shard is complete and the next run of the same job skips it. Paths are those of Beam's
file systems: local, `gs://`, `s3://`, `hdfs://`, ...
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import pyarrow.parquet
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from zip_keras.batch.shards import COUNTS_KEY, Item, Shard, answer_of, make_shards, predict_shard
from zip_keras.data.encoded import IMAGE_KEY, MAX_BYTES
from zip_keras.data.records import image_id_of
from zip_keras.data.tfrecord.container import decode_example, scan_stream
from zip_keras.data.tfrecord.examples import example_image_id
from zip_keras.errors import UserError
from zip_keras.inference.inputs import IMAGE_SUFFIXES

JOB_FILE = "job.json"  # in the output folder; identifies the job


@dataclass(frozen=True)
class Job:
    """The settings of a worker.

    Attributes:
        model: version folder of an export.
        output: output folder of the shards.
        integer_ids: whether the column `image_id` has integers, else text.
        max_boxes, score_threshold: see `answer_of`.
    """

    model: str
    output: str
    integer_ids: bool
    max_boxes: int | None = None
    score_threshold: float | None = None


@dataclass(frozen=True)
class Summary:
    """Counts of an output folder.

    Attributes:
        shards, boxes: number of shards and boxes.
        images: number of images with a result.
        bad: number of images without a result.
        kept: number of shards that earlier runs wrote.
    """

    shards: int
    images: int
    boxes: int
    bad: int
    kept: int


class PredictShards(beam.PTransform):
    """Compute `Shard`s. The main output has a dict per shard, output `bad` a dict per bad image (kept shards too)."""

    def __init__(self, job: Job):
        super().__init__()
        self._job = job

    def expand(self, shards: Any) -> Any:
        return shards | beam.Reshuffle() | beam.ParDo(_PredictShard(self._job)).with_outputs("bad", main="shards")


class _PredictShard(beam.DoFn):
    def __init__(self, job: Job):
        self._job = job

    def process(self, shard: Shard) -> Iterator[Any]:
        job = self._job
        boxes, bad = (FileSystems.join(job.output, name) for name in (shard.boxes_file, shard.bad_file))
        kept = FileSystems.exists(boxes)
        if not kept:
            answer = answer_of(job.model, job.max_boxes, job.score_threshold)
            result = predict_shard(answer, _items(shard), job.integer_ids)
            _publish(bad, result.bad)
            _publish(boxes, result.boxes)
        for line in _read(bad).splitlines():
            yield beam.pvalue.TaggedOutput("bad", json.loads(line))
        yield {"shard": shard.number, "kept": kept}


def run_batch(
    patterns: Sequence[str],
    model: str,
    output: str,
    *,
    records: bool = False,
    images_per_shard: int = 500,
    ids: str | None = None,
    max_boxes: int | None = None,
    score_threshold: float | None = None,
    beam_options: Sequence[str] = (),
) -> Summary:
    """Run the job, or the unfinished part of an earlier run, and wait for its end.

    Args:
        patterns: image files, with `*` and `**`, or folders; TFRecord files if `records` is set.
        model: version folder of an export; every worker must be able to read it.
        output: output folder; every worker must be able to write to it.
        records: the files are TFRecords of `tf.train.Example`s with `image/encoded`; each file is a shard.
        images_per_shard: number of image files per shard, the unit of work and of restart.
        ids: "integer" or "text", the type of the column `image_id`; None: integer if all image ids are integers. For
            TFRecords the first record decides.
        max_boxes, score_threshold: limits on the boxes of an image, see `answer_of`.
        beam_options: Beam options, for example `["--runner=FlinkRunner", "--flink_master=host:8081"]`.

    Raises:
        UserError: no file matches, two images have the same id, the output folder belongs to another job, or a shard is
            missing at the end.
    """
    files = _matching(patterns, records)
    integer_ids = _choose_ids(files, records, ids)
    shards = make_shards(files, records, images_per_shard)
    job = Job(model, output, integer_ids, max_boxes, score_threshold)
    _claim(job, shards)
    paths = [FileSystems.join(output, shard.boxes_file) for shard in shards]
    kept = sum(map(FileSystems.exists, paths))
    if kept < len(shards):
        with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
            _ = pipeline | beam.Create(shards) | PredictShards(job)
    return _summary(paths, kept)


def _matching(patterns: Sequence[str], records: bool) -> list[str]:
    found: set[str] = set()
    for pattern in patterns:
        folder = "://" not in pattern and os.path.isdir(pattern)
        [match] = FileSystems.match([os.path.join(pattern, "**") if folder else pattern])
        names = [metadata.path for metadata in match.metadata_list]
        if folder and not records:
            names = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        if not names:
            raise UserError(f"{pattern}: no file matches")
        found.update(name for name in names if "://" in name or os.path.isfile(name))
    return sorted(found)


def _choose_ids(files: Sequence[str], records: bool, ids: str | None) -> bool:
    """Whether the image ids are integers.

    Raises:
        UserError: two images have the same id.
    """
    if records:
        with _opened(files[0]) as stream:
            first = next(scan_stream(stream, files[0]), None)
        if first is None:
            raise UserError(f"{files[0]}: holds no record")
        return ids == "integer" or (ids is None and isinstance(_record_id(files[0], *first), int))
    seen: dict[int | str, str] = {}
    for file in files:
        other = seen.setdefault(image_id_of(file), file)
        if other != file:
            raise UserError(
                f"{other} and {file}: both have the image id {image_id_of(file)!r}; rename one, or run two jobs"
            )
    return ids == "integer" or (ids is None and all(isinstance(image_id, int) for image_id in seen))


def _claim(job: Job, shards: Sequence[Shard]) -> None:
    """Record the job in the output folder, or compare it with the recorded one.

    Raises:
        UserError: the folder belongs to another job.
    """
    content = {name: value for name, value in asdict(job).items() if name not in ("output", "model")}
    content["model"] = _fingerprint(job.model)
    content["shards"] = len(shards)
    content["inputs"] = hashlib.sha256(json.dumps([shard.files for shard in shards]).encode()).hexdigest()
    file = FileSystems.join(job.output, JOB_FILE)
    if not FileSystems.exists(job.output):
        FileSystems.mkdirs(job.output)
    if not FileSystems.exists(file):
        _publish(file, json.dumps(content, indent=1).encode())
        return
    before = json.loads(_read(file))
    if differing := sorted(name for name in {*content, *before} if content.get(name) != before.get(name)):
        raise UserError(
            f"{job.output}: holds the shards of another job (other {', '.join(differing)}); name another --output, or "
            "delete the folder"
        )


def _fingerprint(model: str) -> str:
    """Identify an export by the SHA-256 of its manifest, which lists those of its files, or else by its path."""
    manifest = FileSystems.join(model, "assets.extra", "manifest.json")
    return hashlib.sha256(_read(manifest)).hexdigest() if FileSystems.exists(manifest) else model


def _items(shard: Shard) -> Iterator[Item]:
    if not shard.records:
        for file in shard.files:
            yield Item(file, image_id_of(file), _image(file))
        return
    [file] = shard.files
    try:
        with _opened(file) as stream:
            for offset, payload in scan_stream(stream, file):
                yield _record(file, offset, payload)
    except UserError as error:  # a damaged file cannot be read any further
        yield Item(file, file, error)


def _record(file: str, offset: int, payload: bytes) -> Item:
    place = f"{file}:{offset}"
    try:
        features = decode_example(payload, place)
        images = features.get(IMAGE_KEY)
        if not isinstance(images, list) or not images:
            raise UserError(f"{place}: the example has no feature {IMAGE_KEY!r}")
        return Item(place, example_image_id(features, file, offset), images[0])
    except UserError as error:
        return Item(place, place, error)


def _record_id(file: str, offset: int, payload: bytes) -> int | str:
    return _record(file, offset, payload).image_id


def _image(file: str) -> bytes | UserError:
    """Read an image, or return a permanent error. Other errors are raised, so that the runner retries the shard."""
    try:
        with _opened(file) as stream:
            content = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        return UserError(f"{file}: {error.strerror}")
    except OSError:
        if FileSystems.exists(file):
            raise
        return UserError(f"{file}: No such file")
    if len(content) > MAX_BYTES:
        return UserError(f"{file}: larger than the limit of {MAX_BYTES:,} bytes")
    return content


def _opened(file: str) -> Any:
    return FileSystems.open(file, compression_type=CompressionTypes.UNCOMPRESSED)


def _read(file: str) -> bytes:
    with _opened(file) as stream:
        return stream.read()


def _publish(file: str, content: bytes) -> None:
    """Write a file atomically, even if two workers compute the same shard."""
    folder, name = FileSystems.split(file)
    unfinished = FileSystems.join(folder, f".{name}.{uuid.uuid4().hex}.part")
    with FileSystems.create(unfinished, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        stream.write(content)
    FileSystems.rename([unfinished], [file])


def _summary(paths: Sequence[str], kept: int) -> Summary:
    images = boxes = bad = 0
    for path in paths:
        if not FileSystems.exists(path):
            raise UserError(f"{path}: is missing at the end of the job; run the same command again")
        with _opened(path) as stream:
            metadata = pyarrow.parquet.ParquetFile(stream).metadata
            counts = json.loads(metadata.metadata[COUNTS_KEY])
            images, bad, boxes = images + counts["images"], bad + counts["bad"], boxes + metadata.num_rows
    return Summary(len(paths), images, boxes, bad, kept)
