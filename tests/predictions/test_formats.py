"""Proposal files: what is written is read again, and what is broken is named."""

import contextlib
import itertools
import json
import pickle
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import ground_truth, proposals, random_pair

from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import (
    SUFFIXES,
    ReadOptions,
    check_ids,
    coco_results,
    read_predictions,
    stream_predictions,
    write_predictions,
)

PICKLE = ReadOptions(allow_pickle=True)


def scene(ids=(1, 2, 7)):
    rng = np.random.default_rng(0)
    found = Predictions("scene")
    for image_id in ids:
        columns = (rng.uniform(1, 300, (5, 4)), rng.normal(size=5), rng.integers(1, 4, 5), rng.integers(0, 4, 5))
        found.add_xywh(image_id, *columns)
    return found


def same(a, b, tolerance=0.0, categories=True):
    """`categories=False`: of a format that keeps neither categories nor levels."""
    assert a.image_ids == b.image_ids
    for image_id in a.image_ids:
        np.testing.assert_allclose(a[image_id].xywh, b[image_id].xywh, rtol=0, atol=tolerance)
        np.testing.assert_allclose(a[image_id].scores, b[image_id].scores, rtol=tolerance, atol=0)
        if categories:
            np.testing.assert_array_equal(a[image_id].categories, b[image_id].categories)
            np.testing.assert_array_equal(a[image_id].levels, b[image_id].levels)
        else:
            assert not a[image_id].levels.any()


@pytest.mark.parametrize("ids", [(1, 2, 7), ("a", "b", "BloodImage_00007"), (5, "5", 2**62)])
@pytest.mark.parametrize("suffix", ["json", "npz", "parquet"])
def test_exact_formats_give_back_every_bit(suffix, ids, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    file = str(tmp_path / f"p.{suffix}")
    if suffix == "parquet" and len(set(map(type, ids))) > 1:
        with pytest.raises(UserError, match="one column cannot hold"):
            check_ids(file, ids)
        with pytest.raises(UserError, match="one column cannot hold"):
            write_predictions(file, scene(ids))
        return
    check_ids(file, ids)
    assert write_predictions(file, scene(ids)) == 15
    same(read_predictions(file), scene(ids))
    assert [path.name for path in tmp_path.iterdir()] == [f"p.{suffix}"]  # nothing unfinished is left behind


@pytest.mark.parametrize("ids", [(1, 2, 7), ("a", "b", "c")])
def test_detectron2_keeps_float32(ids, tmp_path):
    file = str(tmp_path / "p.pkl")
    write_predictions(file, scene(ids))
    same(read_predictions(file, PICKLE), scene(ids), 1e-4, categories=False)


@pytest.mark.parametrize("ids", [(1, 2, 7), ("a", "b", "c"), (2**53 + 1, "5", 5)])
def test_matlab_with_its_own_ids(ids, tmp_path):
    pytest.importorskip("scipy")
    file = str(tmp_path / "p.mat")
    write_predictions(file, scene(ids))
    same(read_predictions(file), scene(ids), 1e-9, categories=False)


def test_matlab_of_the_released_code(tmp_path):
    """Pixels count from 1 and include the last: 11..20 is ten wide and starts at 10; or they are taken as edges."""
    io = pytest.importorskip("scipy.io")
    cells = np.empty((2, 1), object)
    cells[0, 0] = np.array([[11.0, 1.0, 20.0, 40.0, 0.5]], np.float32)
    cells[1, 0] = np.zeros((0, 5))
    io.savemat(tmp_path / "a.mat", {"aboxes": cells})
    (tmp_path / "test.txt").write_text("000005\n000007.jpg\n")
    with pytest.raises(UserError, match="--image-list"):
        read_predictions(str(tmp_path / "a.mat"))
    arguments = ["convert_proposals", str(tmp_path / "a.mat"), str(tmp_path / "a.json")]
    assert main([*arguments, "--image-list", str(tmp_path / "test.txt")]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())
    assert rows == [{"image_id": 5, "category_id": 1, "bbox": [11.0, 1.0, 9.0, 39.0], "score": 0.5}]
    assert main([*arguments, "--image-list", str(tmp_path / "test.txt"), "--pixels", "one_based"]) == 0
    assert json.loads((tmp_path / "a.json").read_text())[0]["bbox"] == [10.0, 0.0, 10.0, 40.0]
    assert main([*arguments, "--image-list", str(tmp_path / "a.json")]) == 2  # as many images as cells are needed


def test_json_is_what_other_programs_read(tmp_path):
    file = tmp_path / "p.json"
    write_predictions(str(file), proposals({3: [([1.5, 2, 3, 4], 0.25)]}))
    assert json.loads(file.read_text()) == [{"image_id": 3, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 0.25}]
    write_predictions(str(file), Predictions())
    assert json.loads(file.read_text()) == []


def test_json_states_a_level_where_it_is_known(tmp_path):
    file = tmp_path / "p.json"
    found = Predictions()
    found.add(3, [[2.0, 1.0, 6.0, 4.0], [0.0, 0.0, 5.0, 5.0]], [0.5, 0.25], levels=[2, 0])
    write_predictions(str(file), found)
    assert json.loads(file.read_text()) == [
        {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, "level": 2},
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.25},
    ]
    assert read_predictions(str(file))[3].levels.tolist() == [2, 0]


def test_pycocotools_loads_a_file_with_levels(tmp_path):
    coco = pytest.importorskip("pycocotools.coco").COCO()
    found = Predictions()
    found.add(3, [[2.0, 1.0, 6.0, 4.0], [0.0, 0.0, 5.0, 5.0]], [0.5, 0.25], levels=[2, 0])
    write_predictions(str(tmp_path / "p.json"), found)
    coco.dataset = {"images": [{"id": 3}], "categories": [{"id": 1}], "annotations": []}
    coco.createIndex()
    annotations = coco.loadRes(str(tmp_path / "p.json")).loadAnns([1, 2])
    assert [(a["bbox"], a["score"], a["area"]) for a in annotations] == [
        ([1, 2, 3, 4], 0.5, 12),
        ([0, 0, 5, 5], 0.25, 25),
    ]


def test_npz_and_parquet_of_before_levels(tmp_path):
    arrays = {"image_ids": [1], "starts": [0, 1], "xywh": np.ones((1, 4)), "scores": [0.5], "categories": [1]}
    np.savez(tmp_path / "p.npz", **arrays)
    assert read_predictions(str(tmp_path / "p.npz"))[1].levels.tolist() == [0]
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: [1.0] for name in ("x", "y", "width", "height", "score")}
    parquet.write_table(arrow.table({"image_id": [1], **columns}), tmp_path / "p.parquet")
    assert read_predictions(str(tmp_path / "p.parquet"))[1].levels.tolist() == [0]


def test_levels_that_are_none_are_named(tmp_path):
    arrays = {"image_ids": [1], "starts": [0, 1], "xywh": np.ones((1, 4)), "scores": [0.5], "categories": [1]}
    for levels, message in (
        ([-1], "integers from 0"),
        ([0.5], "must hold integers"),
        ([1, 2], "do not fit"),
    ):
        np.savez(tmp_path / "p.npz", **arrays, levels=levels)
        with pytest.raises(UserError, match=message):
            read_predictions(str(tmp_path / "p.npz"))
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: [1.0] for name in ("x", "y", "width", "height", "score")}
    for levels, message in (([-1], "column level holds -1"), ([1.5], "column level must hold integers, not double")):
        parquet.write_table(arrow.table({"image_id": [1], **columns, "level": levels}), tmp_path / "p.parquet")
        with pytest.raises(UserError, match=message):
            read_predictions(str(tmp_path / "p.parquet"))


@pytest.mark.parametrize("piece", [7, 50, 1000])
def test_json_in_pieces_is_the_whole(piece, tmp_path, monkeypatch):
    file = tmp_path / "p.json"
    rows = [
        {
            "image_id": i % 3,
            "bbox": [i, 0.5, 2, 3],
            "score": 1 / (i + 1),
            "segmentation": {"counts": "a", "size": [1]},
        }
        for i in range(20)
    ]
    file.write_text(json.dumps(rows, indent=1))
    whole = read_predictions(str(file))
    monkeypatch.setattr(coco_results, "_PIECE", piece)
    pieces = read_predictions(str(file))
    assert whole.count == 20
    for image_id in whole.image_ids:
        assert np.array_equal(whole[image_id].xywh, pieces[image_id].xywh)


def test_parts_of_an_image_come_together_sorted(tmp_path):
    file = tmp_path / "p.json"
    rows = [(1, 0.1), (2, 0.2), (1, 0.9)]
    file.write_text(json.dumps([{"image_id": i, "bbox": [0, 0, 1, 1], "score": s} for i, s in rows]))
    assert read_predictions(str(file))[1].scores.tolist() == [0.9, 0.1]


def test_conversion_does_not_change_a_measure(tmp_path):
    truth, found = random_pair(1)
    files = [str(tmp_path / name) for name in ("a.json", "b.npz", "c.json")]
    write_predictions(files[0], found)
    for source, target in itertools.pairwise(files):
        assert main(["convert_proposals", source, target]) == 0
    assert average_recall(truth, read_predictions(files[-1])) == pytest.approx(average_recall(truth, found), 0, 0, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no json list"),
        ("{}", "a json object"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}', "broken json"),
        ("[1]", "row 0 is '1'"),
        ('[{"image_id": 1, "score": 0.5}]', "row 0 has no 'bbox'"),
        ('[{"image_id": 1, "bbox": [0, 0, 1], "score": 0.5}]', "not four numbers"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, "1"], "score": 0.5}]', "not four numbers"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, null], "score": 0.5}]', "not four numbers"),
        ('[{"image_id": 1.5, "bbox": [0, 0, 1, 1], "score": 0.5}]', "image_id 1.5"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": "high"}]', "score 'high'"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": true}]', "score True"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1, "category_id": "cat"}]', "category_id 'cat'"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1, "level": "p3"}]', "level 'p3' is not an integer"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1, "level": -1}]', "level -1 is not an integer"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1, "level": null}]', "level None is not an integer"),
    ],
)
def test_broken_json_is_named(text, message, tmp_path):
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_predictions(str(file))
    assert "p.json" in str(caught.value)


@pytest.mark.parametrize("suffix", ["json", "npz", "parquet", "pkl", "mat"])
def test_rubbish_is_one_clear_error(suffix, tmp_path):
    file = tmp_path / f"p.{suffix}"
    for rubbish in (b"", b"\x00\xff rubbish \x80" * 20):
        file.write_bytes(rubbish)
        with pytest.raises(UserError, match=r"p\."):
            read_predictions(str(file), PICKLE)


def test_unknown_suffix_and_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_predictions(str(tmp_path / "p.json"))
    with pytest.raises(UserError, match=r"\.csv"):
        read_predictions("p.csv")


def test_npz_arrays_must_fit(tmp_path):
    file = tmp_path / "p.npz"
    np.savez(file, image_ids=[1], starts=[0, 3], xywh=np.zeros((2, 4)), scores=np.zeros(2), categories=np.ones(2, int))
    with pytest.raises(UserError, match="do not fit"):
        read_predictions(str(file))


class Evil:
    def __reduce__(self):
        return (print, ("this code must not run",))


def test_pickles_are_refused_by_default_and_never_run_code(tmp_path, capsys):
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps({"ids": [1], "boxes": [Evil()], "objectness_logits": [np.zeros(1)]}))
    with pytest.raises(UserError, match="--allow-pickle"):
        read_predictions(str(file))
    with pytest.raises(UserError, match=r"builtins\.print"):
        read_predictions(str(file), PICKLE)
    assert "must not run" not in capsys.readouterr().out


def test_pickled_objects_inside_arrays_are_refused(tmp_path):
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps({"ids": [1], "boxes": np.array([None]), "objectness_logits": [np.zeros(1)]}))
    with pytest.raises(UserError, match="not of numbers"):
        read_predictions(str(file), PICKLE)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_detectron_files_of_every_pickle_protocol(protocol, tmp_path):
    content = {"indexes": np.arange(2), "boxes": [np.array([[1, 2, 4, 6]], "f4")] * 2, "scores": [[0.5], [0.25]]}
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_predictions(str(file), PICKLE)
    assert found[1].xywh.tolist() == [[1, 2, 3, 4]]
    assert found[1].scores.tolist() == [0.25]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "p.json"
    write_predictions(str(file), scene())

    def parts():
        yield from scene()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_predictions(str(file), parts())
    same(read_predictions(str(file)), scene())
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        write_predictions(str(tmp_path / "p.json"), proposals({1: [([0, 0, np.nan, 1], 0.5)]}))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"p\.parquet: needs pyarrow .*zip-keras\[interchange\]"):
        write_predictions("p.parquet", scene())


def test_empty_ground_truth_of_boxes_is_fine():
    assert np.isnan(average_recall(ground_truth({1: []}), Predictions())["AR@10"])


def test_parquet_rows_in_any_order_are_gathered_by_image(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_predictions(str(tmp_path / "p.parquet"), scene())
    table = parquet.read_table(tmp_path / "p.parquet").sort_by([("score", "descending")])
    parquet.write_table(table, tmp_path / "sorted.parquet")
    parts = list(stream_predictions(str(tmp_path / "sorted.parquet")))
    assert sorted(part.image_id for part in parts) == [1, 2, 7]  # one part an image, not one a row
    found = read_predictions(str(tmp_path / "sorted.parquet"))
    for image_id in (1, 2, 7):
        np.testing.assert_array_equal(found[image_id].xywh, scene()[image_id].xywh)


def test_a_damaged_npz_is_named(tmp_path):
    file = tmp_path / "p.npz"
    write_predictions(str(file), scene())
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 0xFF
        file.write_bytes(bytes(damaged))
        with contextlib.suppress(UserError):
            read_predictions(str(file))
            continue
        named += 1
    assert named > 30  # nothing else than UserError came out


def test_detectron2_ids_that_are_no_list_are_named(tmp_path):
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps({"ids": 3, "boxes": [], "objectness_logits": []}))
    with pytest.raises(UserError, match=r"p\.pkl: ids, boxes and objectness_logits must be lists"):
        read_predictions(str(file), PICKLE)


def test_a_mat_file_with_the_numbers_of_voc_finds_every_object(real_data, tmp_path):
    voc = real_data("voc07")
    """Whatever a coordinate counts, annotations and aboxes count alike."""
    pytest.importorskip("scipy")
    truth = read_ground_truth(f"{voc}:val")
    found = Predictions()
    for number, image_id in enumerate(truth.image_ids):
        xywh = truth.xywh[truth.starts[number] : truth.starts[number + 1]]
        found.add_xywh(image_id, xywh, np.ones(len(xywh)))
    write_predictions(str(tmp_path / "p.mat"), found)
    for pixels in ("continuous", "one_based"):
        truth = read_ground_truth(f"{voc}:val", pixels=pixels)
        read = read_predictions(str(tmp_path / "p.mat"), ReadOptions(pixels=pixels))
        assert average_recall(truth, read, "fast")["AR@100"] == pytest.approx(1.0, abs=1e-3)


def archive(folder, **changes):
    """An npz of one image with two boxes, with some arrays replaced or, by None, left out."""
    arrays = {
        "image_ids": np.array([1]),
        "starts": np.array([0, 2]),
        "xywh": np.ones((2, 4)),
        "scores": np.ones(2),
        "categories": np.ones(2, np.int64),
        "levels": np.ones(2, np.int64),
    }
    file = folder / "p.npz"
    np.savez(file, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return str(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": np.array([np.nan, 1.0])}, "'categories' must hold integers, not float64"),
        ({"categories": np.array(["a", "b"])}, "'categories' must hold integers, not <U1"),
        ({"categories": np.array([2**63, 1], np.uint64)}, "an integer beyond 64 bits"),
        ({"xywh": np.ones((2, 4), "U3")}, "'xywh' must hold numbers"),
        ({"image_ids": np.array([b"a"])}, "'image_ids' must hold integers or texts"),
        ({"image_ids": np.array(["\ud800"])}, "not an npz file of proposals"),
        ({"image_ids": np.array(["a"]), "integer_ids": np.array([True])}, "not an npz file of proposals"),
        ({"starts": np.array([0, 1])}, "starts must run from 0 to the number of boxes, 2"),
        ({"starts": np.array([0, 3, 2])}, "do not fit together"),
        ({"scores": None}, "has no array 'scores'"),
        ({"scores": np.array(1.0)}, "do not fit together"),
        ({"scores": np.array([1, None])}, "array of Python objects"),
    ],
)
def test_bad_arrays_of_an_npz_are_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        read_predictions(archive(tmp_path, **changes))


def test_a_shape_beyond_the_file_is_refused_unallocated(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
    array = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(16)
    file = archive(tmp_path, scores=None)
    with zipfile.ZipFile(file, "a") as content:
        content.writestr("scores.npy", array)
    with pytest.raises(UserError, match=r"array scores\.npy has the shape \(10000000000000,\) and 16 bytes"):
        read_predictions(file)


def test_an_npz_that_is_a_bomb_is_refused(tmp_path):
    """Ten million equal boxes pack into less than a megabyte."""
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as content, content.open("xywh.npy", "w") as member:
        for _ in range(64):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(UserError, match="more than 50 times as many; refused as a decompression bomb"):
        read_predictions(str(file))
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_an_npz_in_memory_takes_about_60_bytes_a_box(tmp_path):
    rng = np.random.default_rng(0)
    found, images, each = Predictions(), 40, 1000
    for image_id in range(images):
        found.add_xywh(image_id, rng.random((each, 4)), rng.random(each))
    write_predictions(str(tmp_path / "p.npz"), found)
    tracemalloc.start()
    read = read_predictions(str(tmp_path / "p.npz"))
    now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.count == images * each
    assert now / read.count < 62
    assert most / read.count < 90  # one image is unpacked and sorted at a time


JSON_BOMBS = {
    "nested": '[{"image_id": 1, "bbox": ' + "[" * 90_000,
    "a nested id": '[{"image_id": {"a": [[[[[[[[1]]]]]]]]}, "bbox": [0, 0, 1, 1], "score": 1}]',
    "a huge category": '[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1, "category_id": 1' + "0" * 400 + "}]",
    "half a surrogate pair": '[{"image_id": "\\ud800", "bbox": [0, 0, 1, 1], "score": 1}]',
}


@pytest.mark.parametrize("what", JSON_BOMBS)
def test_json_bombs_are_one_clear_sentence(what, tmp_path):
    (tmp_path / "p.json").write_text(JSON_BOMBS[what])
    with pytest.raises(UserError, match=r"p\.json: ") as error:
        read_predictions(str(tmp_path / "p.json"))
    assert len(str(error.value)) < 400


def test_parquet_columns_that_are_no_numbers_or_twice_are_named(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"image_id": [1], **{name: [1.0] for name in ("x", "y", "width", "height", "score")}}
    for changed, message in (
        ({"x": [{"a": 1.0}]}, "must hold numbers, not struct"),
        ({"image_id": [{"a": 1}]}, "image_id must hold integers or texts, not struct"),
        ({"category_id": [[1]]}, "category_id must hold integers, not list"),
        ({"level": arrow.array([2**63], arrow.uint64())}, "level holds an integer beyond 64 bits"),
    ):
        parquet.write_table(arrow.table(columns | changed), tmp_path / "p.parquet")
        with pytest.raises(UserError, match=message):
            read_predictions(str(tmp_path / "p.parquet"))
    names = [*columns, "x"]
    parquet.write_table(arrow.table([*columns.values(), [2.0]], names=names), tmp_path / "p.parquet")
    with pytest.raises(UserError, match="has two columns 'x'"):
        read_predictions(str(tmp_path / "p.parquet"))


@pytest.mark.parametrize("bad", [np.zeros((0, 0)), np.array([[1.5]]), np.array([[np.nan]]), np.array([[1, 2]]), 1e30])
def test_ids_of_a_mat_file_that_are_none_are_named(tmp_path, bad):
    io = pytest.importorskip("scipy.io")
    cells, ids = np.empty((1, 1), object), np.empty((1, 1), object)
    cells[0, 0], ids[0, 0] = np.ones((1, 5)), bad
    io.savemat(tmp_path / "p.mat", {"aboxes": cells, "image_ids": ids})
    with pytest.raises(UserError, match=r"image_ids\{1\} is neither one whole number nor one text"):
        read_predictions(str(tmp_path / "p.mat"))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SUFFIXES)), st.floats(0, 1), st.binary(min_size=1, max_size=6))
def test_any_damage_is_read_or_gives_a_user_error(tmp_path, suffix, where, damage):
    file = tmp_path / f"damaged{suffix}"
    found = Predictions()
    found.add("a", [[0.0, 0.0, 5.0, 5.0], [1.0, 1.0, 2.0, 3.0]], [0.5, 0.25], levels=[1, 2])
    found.add("b", [[0.0, 0.0, 5.5, 5.0]], [0.75], levels=[3])
    write_predictions(str(file), found)
    content = bytearray(file.read_bytes())
    start = int(where * (len(content) - 1))
    content[start : start + len(damage)] = damage
    file.write_bytes(content)
    with contextlib.suppress(UserError):  # anything else fails the test
        read_predictions(str(file), ReadOptions(allow_pickle=True))
