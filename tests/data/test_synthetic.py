import numpy as np
import pytest

from zip_keras.analysis.anchor_fit.fit import fit_anchors
from zip_keras.data.sources import open_dataset
from zip_keras.data.synthetic import CLASS_NAMES, _visible_object, render_scene, voc_xml, write_devkit
from zip_keras.errors import UserError


def test_a_scene_depends_on_seed_and_index_alone():
    one, again, other = render_scene(3, 5), render_scene(3, 5), render_scene(3, 6)
    assert one.objects == again.objects
    assert np.array_equal(one.image, again.image)
    assert one.objects != other.objects


def test_the_box_is_that_of_the_visible_pixels():
    owner = np.zeros((20, 30), np.uint8)
    owner[5:15, 10:20] = 1
    owner[5:15, 10:16] = 2  # hides the left six columns
    thing = _visible_object(owner, 1, "disc", 100)
    assert thing is not None
    assert (thing.box, thing.visible, thing.difficult) == ((5, 16, 15, 20), 0.4, False)
    owner[5:13, :] = 2
    assert _visible_object(owner, 1, "disc", 100) is None  # eight pixels are no object


def test_every_split_of_the_devkit_opens(tmp_path):
    done = []
    write_devkit(str(tmp_path / "scenes"), scenes=20, seed=1, progress=done.append)
    splits = [open_dataset(f"{tmp_path / 'scenes'}:{split}") for split in ("train", "val", "test")]
    assert [len(split) for split in splits] == [16, 2, 2]
    assert sum(done) == 20
    assert splits[0].class_names == CLASS_NAMES
    scene = render_scene(1, 0)
    (first, *_) = splits[0].records
    assert first.boxes.tolist() == [list(map(float, thing.box)) for thing in scene.objects]


def test_sizes_matter_to_all_three_levels(tmp_path):
    write_devkit(str(tmp_path / "scenes"), scenes=40, seed=2, workers=2)
    records = open_dataset(f"{tmp_path / 'scenes'}:all").records
    sides = np.concatenate([record.boxes[:, 2:] - record.boxes[:, :2] for record in records])
    assert sides.min() < 14
    assert 350 < sides.max() <= 500
    *levels, any_level = fit_anchors(records).covered(0.5)
    assert min(levels) > 0.15
    assert any_level > 0.95


def test_a_folder_in_use_and_too_few_scenes_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is there already"):
        write_devkit(str(tmp_path))
    with pytest.raises(UserError, match="too few"):
        write_devkit(str(tmp_path / "new"), scenes=3)


def test_an_interrupted_run_leaves_no_devkit(tmp_path):
    def interrupt(_done):
        raise KeyboardInterrupt

    folder = tmp_path / "scenes"
    with pytest.raises(KeyboardInterrupt):
        write_devkit(str(folder), scenes=10, progress=interrupt)
    assert not folder.exists()
    write_devkit(str(folder), scenes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_the_xml_counts_pixels_from_one():
    scene = render_scene(0, 0)
    y1, x1, y2, x2 = scene.objects[0].box
    expected = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    assert expected in voc_xml(scene, "000000.jpg")
