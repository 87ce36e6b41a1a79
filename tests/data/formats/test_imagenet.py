import numpy as np
import pytest
from PIL import Image

from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError


@pytest.fixture
def ilsvrc(tmp_path, voc_xml):
    """ILSVRC's own layout, with folders inside the names."""
    for name, wnid in (("ILSVRC2014_train_0000/x_1", "n02084071"), ("x_2", "n02121808")):
        for top, suffix in (("Annotations/DET/train", ".xml"), ("Data/DET/train", ".JPEG")):
            (tmp_path / top / name).parent.mkdir(parents=True, exist_ok=True)
            path = tmp_path / top / f"{name}{suffix}"
            if suffix == ".xml":
                path.write_text(voc_xml(name, [(wnid, 0, 0, 60, 40)]))  # xmin 0 and xmax = width: continuous
            else:
                Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path, "JPEG")
    (tmp_path / "ImageSets/DET").mkdir(parents=True)
    (tmp_path / "ImageSets/DET/train.txt").write_text("x_2 1\nILSVRC2014_train_0000/x_1 2\n")
    return tmp_path


def test_wnids_are_names_and_edges_are_continuous(ilsvrc):
    found = open_dataset(f"imagenet:{ilsvrc}:train")
    assert found.class_names == ("n02084071", "n02121808")
    assert [record.image_id for record in found.records] == ["x_2", "x_1"]
    assert [record.classes.tolist() for record in found.records] == [[1], [0]]
    assert found.records[0].boxes.tolist() == [[0, 0, 40, 60]]


def test_the_devkits_map_names_the_wnids(ilsvrc):
    (ilsvrc / "map_det.txt").write_text("n02121808 1 domestic cat\nn02084071 2 dog\n")
    found = open_dataset(f"imagenet:{ilsvrc}:train")
    assert found.class_names == ("domestic cat", "dog")
    assert [record.classes.tolist() for record in found.records] == [[0], [1]]
    (ilsvrc / "map_det.txt").write_text("n02121808\n")
    with pytest.raises(UserError, match="WNID, index, name"):
        open_dataset(f"imagenet:{ilsvrc}:train")


def test_missing_folders_and_lists_are_explained(ilsvrc, tmp_path_factory):
    with pytest.raises(UserError, match="no Annotations folder"):
        open_dataset(f"imagenet:{tmp_path_factory.mktemp('empty')}:train")
    with pytest.raises(UserError, match=r"no list ImageSets/Main/val\.txt"):
        open_dataset(f"imagenet:{ilsvrc}:val")
