"""The reader of PyTorch files: hand-built files first, then what torch.save writes, then files that mean harm."""

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from pytorch_oracle import require_torch

from zip_keras.errors import UserError
from zip_keras.weights.pytorch import LEGACY_MAGIC, read_state_dict


class _Named:
    """Pickles as the global of that name, so that a file can be written without PyTorch."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Call:
    """Pickles as the call of a global."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class _Persistent:
    def __init__(self, *pid):
        self.pid = pid


class _Writer(pickle._Pickler):
    """Writes the three stand-ins above as torch.save writes the real things."""

    def persistent_id(self, value):
        return value.pid if isinstance(value, _Persistent) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Named):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, _Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


REBUILD = _Named("torch._utils", "_rebuild_tensor_v2")


def storage(key, kind, count, *view):
    return _Persistent("storage", _Named("torch", kind), key, "cpu", count, *view)


def tensor(key, kind, count, offset, size, stride, rebuild=REBUILD):
    return _Call(rebuild, storage(key, kind, count), offset, size, stride, False, collections.OrderedDict())


def pickled(value):
    stream = io.BytesIO()
    _Writer(stream, protocol=2).dump(value)
    return stream.getvalue()


def zip_file(path, content, storages=(), compression=zipfile.ZIP_STORED, byteorder=None):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content if isinstance(content, bytes) else pickled(content))
        for key, data in dict(storages).items():
            archive.writestr(f"archive/data/{key}", data)
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)
    return path


def legacy_file(path, content, storages):
    parts = [LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}, content, list(storages)]
    data = b"".join(pickled(part) for part in parts)
    for values in storages.values():
        data += len(values).to_bytes(8, "little") + values.tobytes()
    path.write_bytes(data)
    return path


def test_hand_built_zip_file_gives_its_numbers(tmp_path):
    content = collections.OrderedDict(
        a=tensor("0", "FloatStorage", 6, 0, (2, 3), (3, 1)),
        transposed=tensor("0", "FloatStorage", 6, 0, (3, 2), (1, 3)),
        tail=tensor("0", "FloatStorage", 6, 4, (2,), (1,)),
        scalar=tensor("1", "LongStorage", 1, 0, (), ()),
        empty=tensor("1", "LongStorage", 1, 0, (0, 4), (4, 1)),
    )
    storages = {"0": np.arange(6, dtype="<f4").tobytes(), "1": np.array([7], "<i8").tobytes()}
    arrays = read_state_dict(zip_file(tmp_path / "a.pth", content, storages))
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["tail"].tolist() == [4, 5]
    assert arrays["scalar"].shape == ()
    assert arrays["scalar"] == 7
    assert arrays["empty"].shape == (0, 4)
    assert arrays["a"].dtype == np.float32


def test_hand_built_legacy_file_gives_its_numbers(tmp_path):
    content = collections.OrderedDict(
        a=tensor("17", "HalfStorage", 4, 1, (3,), (1,)), b=tensor("9", "DoubleStorage", 2, 0, (1, 2), (2, 1))
    )
    storages = {"9": np.array([0.5, -2.0]), "17": np.array([1, 2, 3, 4], np.float16)}
    arrays = read_state_dict(legacy_file(tmp_path / "a.pth", content, storages))
    assert arrays["a"].tolist() == [2, 3, 4]
    assert arrays["b"].tolist() == [[0.5, -2.0]]


def test_bfloat16_becomes_float32(tmp_path):
    # 1.0 is 0x3F800000 in float32, so 0x3F80 in bfloat16; -2.0 is 0xC000
    content = {"a": tensor("0", "BFloat16Storage", 2, 0, (2,), (1,))}
    data = np.array([0x3F80, 0xC000], "<u2").tobytes()
    array = read_state_dict(zip_file(tmp_path / "a.pth", content, {"0": data}))["a"]
    assert array.dtype == np.float32
    assert array.tolist() == [1.0, -2.0]


def test_big_endian_file(tmp_path):
    content = {"a": tensor("0", "FloatStorage", 2, 0, (2,), (1,))}
    data = np.array([1.5, 2.5], ">f4").tobytes()
    assert read_state_dict(zip_file(tmp_path / "a.pth", content, {"0": data}, byteorder="big"))["a"].tolist() == [
        1.5,
        2.5,
    ]


def test_view_of_a_legacy_storage(tmp_path):
    whole = storage("0", "FloatStorage", 4, ("1", 1, 2))  # key, offset, size of the view
    content = {"a": _Call(REBUILD, whole, 1, (1,), (1,), False, None)}
    arrays = read_state_dict(legacy_file(tmp_path / "a.pth", content, {"0": np.arange(4, dtype=np.float32)}))
    assert arrays["a"].tolist() == [2]


def test_parameters_and_a_checkpoint_around_the_state_dict(tmp_path):
    parameter = _Call(
        _Named("torch._utils", "_rebuild_parameter"), tensor("0", "FloatStorage", 1, 0, (1,), (1,)), True, None
    )
    content = {"state_dict": collections.OrderedDict(a=parameter), "epoch": 3}
    path = zip_file(tmp_path / "a.pth", content, {"0": np.ones(1, "<f4").tobytes()})
    assert read_state_dict(path)["a"].tolist() == [1]


@pytest.mark.parametrize("new_format", [True, False])
def test_file_of_torch_save(tmp_path, new_format):
    torch = require_torch()
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    expected = dict(module.state_dict())
    expected["half"] = torch.randn(2, 5).half().t()
    expected["bfloat"] = torch.randn(3).bfloat16()
    expected["parameter"] = torch.nn.Parameter(torch.randn(4, 4)[1:, ::2])
    path = tmp_path / "a.pth"
    torch.save(collections.OrderedDict(expected), path, _use_new_zipfile_serialization=new_format)
    assert zipfile.is_zipfile(path) == new_format
    arrays = read_state_dict(path)
    assert set(arrays) == set(expected)
    for name, value in expected.items():
        value = value.detach()
        np.testing.assert_array_equal(arrays[name], (value.float() if value.is_floating_point() else value).numpy())


class _Harmful:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path, legacy):
    trace = tmp_path / "was_here"
    content = pickle.dumps({"a": _Harmful(f"touch {trace}")}, protocol=2)
    path = tmp_path / "a.pth"
    if legacy:
        path.write_bytes(b"".join(pickled(part) for part in (LEGACY_MAGIC, 1001, {})) + content)
    else:
        zip_file(path, content)
    with pytest.raises(UserError, match=r"a\.pth: asks for (posix|nt)\.system"):
        read_state_dict(path)
    assert not trace.exists()


def test_code_at_the_very_start_of_a_file_is_not_run(tmp_path):
    trace, path = tmp_path / "was_here", tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(_Harmful(f"touch {trace}"), protocol=2))
    with pytest.raises(UserError, match="system"):
        read_state_dict(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["builtins\neval", "builtins\ngetattr", "torch\nload", "torch.storage\n_load_from_bytes", "numpy\nload"]
)
def test_every_other_global_is_refused(tmp_path, name):
    path = zip_file(tmp_path / "a.pth", pickle.PROTO + b"\x02" + pickle.GLOBAL + f"{name}\n".encode() + pickle.STOP)
    with pytest.raises(UserError, match=name.replace("\n", r"\.")):
        read_state_dict(path)


def test_stand_ins_cannot_be_changed_by_a_file(tmp_path):
    """BUILD sets attributes of what a file names; the functions that later files meet must stay as they are."""
    content = pickle.PROTO + b"\x02" + pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    content += pickle.NONE + pickle.MARK + pickle.UNICODE + b"__call__\n" + pickle.NONE + pickle.DICT
    content += pickle.TUPLE2 + pickle.BUILD + pickle.STOP
    with pytest.raises(UserError):
        read_state_dict(zip_file(tmp_path / "a.pth", content))
    good = {"a": tensor("0", "FloatStorage", 1, 0, (1,), (1,))}
    assert "a" in read_state_dict(zip_file(tmp_path / "b.pth", good, {"0": bytes(4)}))


@pytest.mark.parametrize(
    ("content", "storages", "message"),
    [
        ({"a": tensor("0", "FloatStorage", 6, 0, (2, 3), (3, 2))}, {"0": bytes(24)}, "tensor a reaches beyond"),
        ({"a": tensor("0", "FloatStorage", 6, 0, (10**12,), (0,))}, {"0": bytes(24)}, "tensor a reaches beyond"),
        ({"a": tensor("0", "FloatStorage", 6, -1, (2,), (1,))}, {"0": bytes(24)}, "broken"),
        ({"a": tensor("0", "FloatStorage", 9, 0, (2,), (1,))}, {"0": bytes(24)}, "storage 0 holds 6 numbers"),
        ({"a": tensor("5", "FloatStorage", 6, 0, (2,), (1,))}, {"0": bytes(24)}, "storage 5 is not in the file"),
        ({"epoch": 3}, {}, "'epoch' is int, not a tensor"),
        ([1, 2], {}, "holds a list, not a state dict"),
        ({"a": _Persistent("module", "x")}, {}, "not a readable"),
    ],
)
def test_broken_contents_are_named(tmp_path, content, storages, message):
    with pytest.raises(UserError, match=message):
        read_state_dict(zip_file(tmp_path / "a.pth", content, storages))


def test_broken_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_state_dict(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth: neither a zip archive nor a pickle"):
        read_state_dict(tmp_path / "text.pth")
    (tmp_path / "other.pth").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(UserError, match=r"not one of torch\.save"):
        read_state_dict(tmp_path / "other.pth")
    with pytest.raises(UserError, match="compressed"):
        read_state_dict(zip_file(tmp_path / "packed.pth", {}, compression=zipfile.ZIP_DEFLATED))
    content = {"a": tensor("0", "FloatStorage", 8, 0, (8,), (1,))}
    whole = legacy_file(tmp_path / "whole.pth", content, {"0": np.ones(8, np.float32)}).read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.pth: "):
            read_state_dict(tmp_path / "cut.pth")
