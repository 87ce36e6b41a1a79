"""The job on Beam's DirectRunner; skipped where Apache Beam is not installed (it has an environment of its own)."""

import json

import pyarrow.parquet as parquet
import pytest

pytest.importorskip("apache_beam", reason="needs pip install 'zip-keras[beam]'")

from zip_keras.batch.pipeline import JOB_FILE, run_batch
from zip_keras.data.tfrecord.container import encode_example, write_record
from zip_keras.errors import UserError


@pytest.fixture(scope="module")
def photos(encoded_image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(5):
        (folder / f"{number:03}.jpg").write_bytes(encoded_image("JPEG", 40 + 8 * number, 64))
    (folder / "005.jpg").write_bytes(b"no image")
    return folder


def rows_of(output):
    return [row for file in sorted(output.glob("boxes-*.parquet")) for row in parquet.read_table(file).to_pylist()]


def test_a_job_and_its_restart(photos, small_export, tmp_path):
    model, output = str(small_export / "1"), tmp_path / "boxes"
    first = run_batch([str(photos)], model, str(output), images_per_shard=2)
    assert (first.shards, first.images, first.bad, first.kept) == (3, 5, 1, 0)
    rows = rows_of(output)
    assert len(rows) == first.boxes > 0
    assert {row["image_id"] for row in rows} <= set(range(5))
    [bad] = [json.loads(line) for file in output.glob("bad-*") for line in file.read_text().splitlines()]
    assert (bad["image_id"], bad["file"]) == (5, str(photos / "005.jpg"))

    kept = output / "boxes-00001-of-00003.parquet"
    before = kept.stat().st_mtime_ns
    (output / "boxes-00002-of-00003.parquet").unlink()  # as where a job was killed
    second = run_batch([str(photos)], model, str(output), images_per_shard=2)
    assert (second.kept, second.boxes, second.bad) == (2, first.boxes, 1)
    assert kept.stat().st_mtime_ns == before
    assert rows_of(output) == rows
    names = {file.name for file in output.iterdir()}
    assert len(names) == 7
    assert JOB_FILE in names


def test_another_job_in_the_same_folder_is_refused(photos, small_export, tmp_path):
    model = str(small_export / "1")
    one = [str(photos / "000.jpg")]
    run_batch(one, model, str(tmp_path))
    with pytest.raises(UserError, match=r"another job \(other max_boxes\)"):
        run_batch(one, model, str(tmp_path), max_boxes=3)
    with pytest.raises(UserError, match=r"another job \(other inputs\)"):
        run_batch([str(photos / "001.jpg")], model, str(tmp_path))


def test_records(photos, small_export, tmp_path):
    shard = tmp_path / "data-00000-of-00001"
    with open(shard, "wb") as file:
        for number in (3, 4):
            content = (photos / f"{number:03}.jpg").read_bytes()
            write_record(file, encode_example({"image/encoded": [content], "image/source_id": [b"%d" % number]}))
        write_record(file, encode_example({"image/width": [1]}))
    summary = run_batch([str(tmp_path / "data-*")], str(small_export / "1"), str(tmp_path / "out"), records=True)
    assert (summary.images, summary.bad) == (2, 1)
    assert {row["image_id"] for row in rows_of(tmp_path / "out")} == {3, 4}


def test_wrong_inputs(photos, tmp_path):
    with pytest.raises(UserError, match="no file matches"):
        run_batch([str(tmp_path / "*.jpg")], "model", str(tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "000.png").write_bytes(b"")
    with pytest.raises(UserError, match="both have the image id 0"):
        run_batch([str(photos), str(tmp_path / "other")], "model", str(tmp_path))
