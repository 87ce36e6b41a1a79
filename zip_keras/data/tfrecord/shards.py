"""TFRecord shards with the feature keys of the TF Object Detection API, read through an index beside each shard.

The index (`SHARD.index.npz`) holds the fields of `ImageRecord`, so opening a dataset reads no image. Shards of other
tools are scanned once, with all checksums verified, to create their index.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zip_keras.data.annotations import ImageAnnotation, PixelConvention
from zip_keras.data.checks.defects import Defect, DefectLog
from zip_keras.data.checks.validation import to_record
from zip_keras.data.records import ImageRecord
from zip_keras.data.tfrecord.container import HEADER_BYTES, scan_records
from zip_keras.data.tfrecord.examples import annotation_of, read_label_map
from zip_keras.errors import UserError
from zip_keras.utils.archives import Npz, open_zip
from zip_keras.utils.files import atomic_write
from zip_keras.utils.reading import Budget, parse_json

INDEX_SUFFIX = ".index.npz"
DATASET_FILE = "dataset.json"  # written last: if it exists, all shards are complete
JOB_FILE = "job.json"  # written first
LABEL_MAP_FILE = "label_map.pbtxt"
_FOREIGN = "foreign, label map "  # prefix of `job` in the index of a shard that another tool wrote
_SHARD_NAME = re.compile(r"(\.tfrecords?|\.record|\.tfrecord-\d{5}-of-\d{5}|-\d{5}-of-\d{5})$")
_ARRAYS = ("shard_bytes", "job", "names", "defects", "image_ids", "offsets", "lengths", "sizes", "counts", "boxes",
           "classes", "difficult", "crowd", "area")  # fmt: skip
_INDEX_BUDGET = Budget(bytes=1 << 28, nodes=50_000_000, depth=3)
_OF_N = re.compile(r"-(\d{5})-of-(\d{5})")


def write_index(
    shard: str,
    records: Sequence[ImageRecord],
    names: Sequence[str],
    *,
    job: str = "",
    defects: Sequence[Defect] = (),
) -> None:
    """Write the index of a finished shard atomically.

    Args:
        shard: path of the shard.
        records: records in file order, with `offset` and `length`.
        names: class names that `classes` of the records index.
        job: fingerprint of the run that wrote the shard, for resuming.
        defects: defects that the policy accepted.
    """
    flat = {name: [getattr(r, name) for r in records] for name in ("boxes", "classes", "difficult", "crowd", "area")}
    arrays = {
        "shard_bytes": np.int64(os.path.getsize(shard)),
        "job": np.str_(job),
        "names": np.str_(json.dumps(list(names))),
        "defects": np.str_(json.dumps([dataclasses.asdict(defect) for defect in defects])),
        "image_ids": np.str_(json.dumps([record.image_id for record in records])),
        "offsets": np.array([record.offset for record in records], np.int64),
        "lengths": np.array([record.length for record in records], np.int64),
        "sizes": np.array([(record.height, record.width) for record in records], np.int32).reshape(-1, 2),
        "counts": np.array([len(record.boxes) for record in records], np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *flat["boxes"]]),
        "classes": np.concatenate([np.zeros(0, np.int32), *flat["classes"]]),
        "difficult": np.concatenate([np.zeros(0, bool), *flat["difficult"]]),
        "crowd": np.concatenate([np.zeros(0, bool), *flat["crowd"]]),
        "area": np.concatenate([np.zeros(0, np.float32), *flat["area"]]),
    }
    with atomic_write(shard + INDEX_SUFFIX) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """Content of an index; see the arguments of `write_index`."""

    records: list[ImageRecord]
    names: list[str]
    job: str
    defects: list[Defect]


def read_index(shard: str) -> ShardIndex | None:
    """The index of a shard; None if it does not exist or is not valid for this shard.

    Boxes, classes and positions are checked, because a folder of records may come from an untrusted source.
    """
    try:
        with open_zip(shard + INDEX_SUFFIX, "the index of a shard") as archive:
            npz = Npz(archive)
            content = {name: npz.read(name) for name in _ARRAYS}
        shard_bytes = os.path.getsize(shard)
        ids, names, defects = (
            parse_json(str(content[name]), f"{shard}{INDEX_SUFFIX}", _INDEX_BUDGET)
            for name in ("image_ids", "names", "defects")
        )
        if int(content["shard_bytes"]) != shard_bytes or not _is_sound(content, ids, names, shard_bytes):
            return None
        ends = np.cumsum(content["counts"])
        rows = zip(ids, content["offsets"], content["lengths"], content["sizes"], ends, content["counts"], strict=True)
        records = [
            ImageRecord(
                image_id=image_id,
                file=shard,
                height=int(size[0]),
                width=int(size[1]),
                offset=int(offset),
                length=int(length),
                **{key: content[key][end - count : end] for key in ("boxes", "classes", "difficult", "crowd", "area")},
            )
            for image_id, offset, length, size, end, count in rows
        ]
        return ShardIndex(records, names, str(content["job"]), [Defect(**defect) for defect in defects])
    except (UserError, KeyError, OSError, ValueError, TypeError):  # the caller scans the shard instead
        return None


def _is_sound(content: Mapping[str, np.ndarray], ids: Any, names: Any, shard_bytes: int) -> bool:
    """Whether an index, which may be untrusted, has the properties that `to_record` guarantees."""
    images, boxes = content["offsets"].shape[0], content["boxes"].shape[0]
    shapes = dict.fromkeys(("offsets", "lengths", "counts"), (images,)) | {
        "sizes": (images, 2),
        "boxes": (boxes, 4),
    }
    shapes |= dict.fromkeys(("classes", "difficult", "crowd", "area"), (boxes,))
    kinds = {"boxes": "f", "area": "f", "difficult": "b", "crowd": "b"}
    if any(content[n].shape != shape or content[n].dtype.kind != kinds.get(n, "i") for n, shape in shapes.items()):
        return False
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    if not texts or not isinstance(ids, list) or len(ids) != images or not all(type(i) in (int, str) for i in ids):
        return False
    counts, offsets, lengths, sizes = (content[name] for name in ("counts", "offsets", "lengths", "sizes"))
    if (counts < 0).any() or counts.sum() != boxes or (offsets < HEADER_BYTES).any() or (lengths < 0).any():
        return False
    if (lengths > shard_bytes).any() or (offsets > shard_bytes - lengths).any() or (sizes < 1).any():
        return False
    y1, x1, y2, x2 = content["boxes"].T
    height, width = np.repeat(sizes, counts, axis=0).T
    inside = (y1 >= 0) & (x1 >= 0) & (y1 < y2) & (x1 < x2) & (y2 <= height) & (x2 <= width)  # False for NaN
    classes = content["classes"]
    good = inside & (classes >= 0) & (classes < len(names)) & np.isfinite(content["area"])
    return bool(good.all())


def shard_paths(folder: str, prefix: str = "") -> list[str]:
    """Sorted paths of the TFRecord shards in a folder whose names begin with `prefix`."""
    if not os.path.isdir(folder):
        return []
    names = [n for n in os.listdir(folder) if n.startswith(prefix) and _SHARD_NAME.search(n)]
    return [os.path.join(folder, name) for name in sorted(names)]


def read_records(
    folder: str, prefix: str, log: DefectLog, pixels: PixelConvention = "continuous"
) -> tuple[list[str], list[ImageRecord]]:
    """Read the records of all shards in a folder.

    Args:
        folder: folder with the shards, or the path of a single shard.
        prefix: only shards whose names begin with it are read, for folders that hold several splits.
        log: judges defects of records that other tools wrote.
        pixels: meaning of the coordinates in records of other tools, after multiplication by the image size. Records
            made from VOC often keep its numbers: use "one_based".

    Returns:
        Class names, and records in the order of the shards. Names are those of `label_map.pbtxt` by id, followed by
        the other class names of the records, sorted.

    Raises:
        UserError: no shards, missing shards, an unfinished run, or a shard that is truncated or damaged.
    """
    shards = [folder] if os.path.isfile(folder) else shard_paths(folder, prefix)
    place = os.path.dirname(folder) if os.path.isfile(folder) else folder
    if not shards:
        raise UserError(f"{folder}: no TFRecord shards here" + (f" that begin with {prefix!r}" if prefix else ""))
    ours = os.path.join(place, JOB_FILE)
    if os.path.isfile(ours) and not os.path.isfile(os.path.join(place, DATASET_FILE)):
        raise UserError(f"{folder}: prepare_data did not finish here; run it again with --resume")
    if not os.path.isfile(folder):
        _refuse_gaps(shards)
    label_map = read_label_map(os.path.join(place, LABEL_MAP_FILE))
    if pixels != "continuous" and os.path.isfile(ours):
        raise UserError(f"{folder}: pixels={pixels} is for other tools' records; prepare_data writes continuous boxes")
    indexes = []
    for shard in shards:
        index = read_index(shard) if pixels == "continuous" else None
        if index and index.job.startswith(_FOREIGN) and index.job != _foreign_job(label_map):
            index = None  # the label map has changed since
        indexes.append(index or _index_foreign(shard, label_map, log, pixels))
    names = list(label_map.values())
    extra = {name for index in indexes for name in index.names} - set(names)
    names += sorted(extra)
    number = {name: i for i, name in enumerate(names)}
    records: list[ImageRecord] = []
    for index in indexes:
        if index.names == names:
            records += index.records
        else:
            renumber = np.array([number[name] for name in index.names], np.int32)
            records += [dataclasses.replace(r, classes=renumber[r.classes]) for r in index.records]
    return names, records


def _refuse_gaps(shards: Sequence[str]) -> None:
    """Raise `UserError` if a shard is missing; names such as `x-00000-of-00003` state the number of shards."""
    groups: dict[str, set[int]] = {}
    for shard in shards:
        if match := _OF_N.search(os.path.basename(shard)):
            name = os.path.basename(shard)
            groups.setdefault(f"{name[: match.start()]}-%05d-of-{match[2]}{name[match.end() :]}", set()).add(
                int(match[1])
            )
    for pattern, there in groups.items():
        total = int(_OF_N.search(pattern.replace("%05d", "00000"))[2])  # type: ignore[index]
        if missing := sorted(set(range(total)) - there):
            raise UserError(f"{os.path.join(os.path.dirname(shards[0]), pattern % missing[0])}: this shard is missing")


def _foreign_job(label_map: Mapping[int, str]) -> str:
    return _FOREIGN + hashlib.sha256(json.dumps(sorted(label_map.items())).encode()).hexdigest()


def _index_foreign(shard: str, label_map: Mapping[int, str], log: DefectLog, pixels: PixelConvention) -> ShardIndex:
    """Scan a shard that has no valid index, and write an index if the folder is writable."""
    known = len(log.defects)
    found: list[tuple[ImageAnnotation, int, int]] = []
    for offset, payload in scan_records(shard):
        annotation = annotation_of(payload, shard, offset, label_map)
        if annotation is None:
            log.image("broken_image", shard, f"the example at byte {offset} states no size and holds no readable image")
            continue
        found.append((annotation, offset, len(payload)))
    names = list(dict.fromkeys(thing.name for annotation, _, _ in found for thing in annotation.objects))
    number = {name: i for i, name in enumerate(names)}
    records = []
    for annotation, offset, length in found:
        record = to_record(annotation, number, pixels, log)
        if record is not None:
            records.append(dataclasses.replace(record, file=shard, offset=offset, length=length))
    # A shard with defects gets no index, because the policy must judge them each time. The mode is checked because root
    # could write to a read-only folder.
    if (
        pixels == "continuous"
        and len(log.defects) == known
        and os.stat(os.path.dirname(shard) or ".").st_mode & stat.S_IWUSR
    ):
        with contextlib.suppress(OSError, UserError):
            write_index(shard, records, names, job=_foreign_job(label_map))
    return ShardIndex(records, names, "", [])
