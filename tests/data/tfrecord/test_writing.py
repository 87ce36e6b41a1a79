import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.checks.images import decode_with_pillow, inspect
from zip_keras.data.encoded import read_encoded
from zip_keras.data.sources import open_dataset
from zip_keras.data.tfrecord import writing
from zip_keras.data.tfrecord.writing import write_shards
from zip_keras.errors import UserError


def fill(devkit, count=12):
    for i in range(count):
        devkit.add(f"{i:06d}", [("dog", 1 + i, 1, 20 + i, 30)])
    return open_dataset(devkit.train)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".tfrecord", ".npz")}


def test_workers_write_the_same_bytes_as_one_process(devkit, tmp_path):
    dataset = fill(devkit)
    for workers in (1, 2):
        done = []
        folder = tmp_path / str(workers)
        write_shards(dataset, str(folder), DefectLog(), shards=3, workers=workers, progress=done.append)
        assert sum(done) == 12
    shards = [{n: b for n, b in content(tmp_path / w).items() if n.endswith(".tfrecord")} for w in "12"]
    assert len(shards[0]) == 3
    assert shards[0] == shards[1]
    summary = json.loads((tmp_path / "2" / "dataset.json").read_text())
    assert (summary["images"], summary["objects"], summary["shards"]) == (12, 12, 3)


def test_resume_wants_the_same_job(devkit, tmp_path):
    dataset, folder = fill(devkit), str(tmp_path / "out")
    write_shards(dataset, folder, DefectLog(), shards=2)
    with pytest.raises(UserError, match="already holds records"):
        write_shards(dataset, folder, DefectLog(), shards=2)
    for other, options in (
        (dataset, {"shards": 3}),
        (open_dataset(devkit.train, classes=["cat", "dog"]), {"shards": 2}),
    ):
        with pytest.raises(UserError, match="other data or other settings"):
            write_shards(other, folder, DefectLog(), resume=True, **options)


def test_a_bad_image_costs_nothing_that_was_written(devkit, tmp_path):
    """The next run skips the image: in the same folder where no shard was finished, else with resume."""
    dataset, folder = fill(devkit), str(tmp_path / "out")
    bad = Path(dataset.records[0].file)
    good = bad.read_bytes()
    bad.write_bytes(good[:-20])
    with pytest.raises(UserError, match=f"{bad.name}.*--on-bad-image=skip"):
        write_shards(dataset, folder, DefectLog(), shards=1)
    assert len(write_shards(dataset, folder, DefectLog("error", "skip"), shards=1)) == 11

    bad.write_bytes(good)
    folder = str(tmp_path / "second")
    Path(dataset.records[-1].file).write_bytes(good[:-20])
    dataset = open_dataset(dataset.spec)
    with pytest.raises(UserError, match="--on-bad-image=skip"):
        write_shards(dataset, folder, DefectLog(), shards=2)
    first = Path(folder, "shard-00000-of-00002.tfrecord").stat().st_mtime_ns
    assert len(write_shards(dataset, folder, DefectLog("error", "skip"), shards=2, resume=True)) == 11
    assert Path(folder, "shard-00000-of-00002.tfrecord").stat().st_mtime_ns == first


def test_resume_writes_only_what_is_missing(devkit, tmp_path, monkeypatch):
    dataset, folder = fill(devkit), tmp_path / "out"
    write_shards(dataset, str(folder), DefectLog(), shards=3)
    whole = content(folder)
    (folder / "shard-00001-of-00003.tfrecord").unlink()
    (folder / "shard-00002-of-00003.tfrecord.index.npz").unlink()
    (folder / "dataset.json").unlink()
    (folder / ".shard-00001-of-00003.tfrecord.77.part").write_bytes(b"half")
    with pytest.raises(UserError, match="did not finish here; run it again with --resume"):
        open_dataset(f"records:{folder}")
    read = []
    original = writing.checked_image
    monkeypatch.setattr(writing, "checked_image", lambda record, log: read.append(record) or original(record, log))
    write_shards(dataset, str(folder), DefectLog(), shards=3, resume=True)
    assert len(read) == 8
    assert {n: b for n, b in content(folder).items() if n.endswith("tfrecord")} == {
        n: b for n, b in whole.items() if n.endswith("tfrecord")
    }
    assert not list(folder.glob(".*.part"))
    assert len(open_dataset(f"records:{folder}")) == 12


def _slow_write(spec, folder):
    original = writing.checked_image

    def slow(record, log):
        time.sleep(0.1)
        return original(record, log)

    writing.checked_image = slow
    write_shards(open_dataset(spec), folder, DefectLog(), shards=4)


def test_a_killed_run_goes_on(devkit, tmp_path):
    dataset, folder = fill(devkit), tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(target=_slow_write, args=(devkit.train, str(folder)))
    process.start()
    while not (folder / "shard-00001-of-00004.tfrecord").exists() and process.is_alive():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (folder / "dataset.json").exists()
    write_shards(dataset, str(folder), DefectLog(), shards=4, resume=True)
    found = open_dataset(f"records:{folder}")
    assert [r.image_id for r in found.records] == list(range(12))


def turned(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).convert("RGB").save(path, exif=exif, quality=95)


@pytest.fixture
def dirty(devkit):
    """One image of each defect between two sound ones."""
    box = [("dog", 1, 1, 20, 30)]
    devkit.add("a_good", box)
    path = devkit.add("b_broken", box)
    path.write_bytes(path.read_bytes()[:300])
    path = devkit.add("c_cmyk", box)
    Image.open(path).convert("CMYK").save(path)
    path = devkit.add("d_gray", box)
    Image.open(path).convert("L").save(path)
    path = devkit.add("e_mismatch", box)
    Image.new("RGB", (61, 40)).save(path)
    turned(devkit.add("f_turned", box), 3)
    path = devkit.add("g_sixteen", box)
    path.unlink()
    Image.fromarray(np.full((40, 60), 1000, np.uint16)).save(path.with_suffix(".png"))
    path = devkit.add("h_animated", box)
    path.unlink()
    frames = [Image.new("L", (60, 40), shade) for shade in (0, 90)]
    frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    path = devkit.add("i_webp", box)
    path.unlink()
    Image.new("RGB", (60, 40), (9, 9, 9)).save(path.with_suffix(".webp"))
    devkit.add("j_good", box)
    return devkit


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("b_broken", "not a readable image"),
        ("c_cmyk", "is in CMYK colours"),
        ("e_mismatch", "is 61 x 40 pixels, its annotation says 60 x 40"),
        ("f_turned", r"EXIF orientation 3\)"),
        ("g_sixteen", "has 16 bits a channel"),
        ("h_animated", "the GIF file has several frames"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_by_default_the_first_bad_image_stops_the_run(dirty, tmp_path, stem, message, workers):
    (dirty.folder / "ImageSets/Main/two.txt").write_text(f"a_good\n{stem}\n")
    dataset = open_dataset(f"{dirty.folder}:two")
    with pytest.raises(UserError, match=message) as error:
        write_shards(dataset, str(tmp_path / "out"), DefectLog(), shards=2, workers=workers)
    assert f"{stem}." in str(error.value)
    assert "--on-bad-image=skip" in str(error.value)
    assert not list((tmp_path / "out").glob(".*.part"))


def test_skip_counts_every_bad_image(dirty, tmp_path):
    log = DefectLog(on_image="skip")
    dataset = open_dataset(dirty.train)
    written = write_shards(dataset, str(tmp_path / "out"), log, shards=2, workers=2)
    assert [r.image_id for r in written] == ["a_good", "d_gray", "i_webp", "j_good"]
    assert log.counts() == {
        "broken_image": 1,
        "size_mismatch": 1,
        "exif_rotated": 1,
        "cmyk": 1,
        "sixteen_bit": 1,
        "animated": 1,
        "grayscale": 1,
        "reencoded": 1,
    }
    assert {d.kind: d.action for d in log.defects if d.action != "skipped"} == {
        "grayscale": "kept",
        "reencoded": "kept",
    }


def test_mend_makes_sound_images_of_what_can_be_mended(dirty, tmp_path):
    log = DefectLog(on_image="repair")
    folder = str(tmp_path / "out")
    write_shards(open_dataset(dirty.train), folder, log, shards=2)
    found = {r.image_id: r for r in open_dataset(f"records:{folder}").records}
    assert sorted(found) == ["a_good", "c_cmyk", "d_gray", "f_turned", "g_sixteen", "h_animated", "i_webp", "j_good"]
    for record in found.values():
        info = inspect(read_encoded(record.file, record.offset, record.length), str(record.image_id))
        assert (info.height, info.width) == (40, 60) == (record.height, record.width)
        assert {kind for kind, _ in info.defects()} <= {"grayscale"}
        assert info.format in ("JPEG", "PNG")
    actions = {d.kind: d.action for d in log.defects if os.path.basename(d.file)[0] in "bcefgh"}
    assert actions["broken_image"] == actions["size_mismatch"] == "skipped"
    assert actions["cmyk"] == actions["exif_rotated"] == actions["sixteen_bit"] == actions["animated"] == "repaired"


@pytest.mark.parametrize(("stated", "top_is_red"), [((60, 40), True), ((40, 60), False)])
def test_the_stated_size_tells_how_a_turned_image_is_meant(devkit, tmp_path, voc_xml, stated, top_is_red):
    path = devkit.add("a", [], xml=voc_xml("a.jpg", [("dog", 1, 1, 9, 9)], size=stated))
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0] = 255  # red on the left; a quarter turn clockwise (orientation 6) brings it to the top
    Image.fromarray(pixels).save(path)
    turned(path, 6)
    (record,) = write_shards(open_dataset(devkit.train), str(tmp_path / "out"), DefectLog(on_image="repair"))
    image = decode_with_pillow(read_encoded(record.file, record.offset, record.length), "a")
    assert image.shape == (*stated, 3)
    assert (image[2, -2, 0] > 200) == top_is_red


def test_an_image_that_vanished_is_named(devkit, tmp_path):
    dataset = fill(devkit, 2)
    os.unlink(dataset.records[1].file)
    with pytest.raises(UserError, match=r"000001\.jpg: is not there"):
        write_shards(dataset, str(tmp_path / "out"), DefectLog())


def test_records_can_be_prepared_anew(devkit, tmp_path):
    dataset = fill(devkit)
    write_shards(dataset, str(tmp_path / "one"), DefectLog(), shards=1)
    write_shards(open_dataset(f"records:{tmp_path / 'one'}"), str(tmp_path / "three"), DefectLog(), shards=3)
    found = open_dataset(f"records:{tmp_path / 'three'}")
    for a, b in zip(found.records, dataset.records, strict=True):
        assert a.boxes.tolist() == b.boxes.tolist()
        with open(b.file, "rb") as file:
            assert read_encoded(a.file, a.offset, a.length) == file.read()
