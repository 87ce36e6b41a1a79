import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.errors import UserError
from zip_keras.weights.npz import LoadReport, load_weights, save_weights, variables_by_path


def network(width=4, head="head"):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(width, 3, name="first")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(image, keras.layers.Conv2D(2, 1, name=head)(x))


def values(model):
    return {path: ops.convert_to_numpy(v) for path, v in variables_by_path(model).items()}


def random_network(**options):
    model, rng = network(**options), np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def test_every_variable_is_saved_and_loaded(tmp_path):
    source, target = random_network(), network()
    save_weights(source, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as content:
        assert set(content.files) == {
            *("first/kernel", "first/bias", "head/kernel", "head/bias"),
            *("norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"),
        }
    report = load_weights(target, tmp_path / "w.npz")
    assert (len(report.loaded), report.kept, report.unused) == (8, (), ())
    for path, array in values(source).items():
        np.testing.assert_array_equal(values(target)[path], array)


def test_half_precision_files_are_half_as_exact(tmp_path):
    source, target = random_network(), network()
    save_weights(source, tmp_path / "w.npz", dtype="float16")
    load_weights(target, tmp_path / "w.npz")
    for path, array in values(source).items():
        assert values(target)[path].dtype == np.float32
        np.testing.assert_allclose(values(target)[path], array, rtol=1e-3)


def test_what_does_not_fit_is_kept_and_named(tmp_path):
    save_weights(random_network(), tmp_path / "w.npz")
    other = network(width=4, head="another")
    before = values(other)
    report = load_weights(other, tmp_path / "w.npz")
    assert len(report.loaded) == 6
    assert report.kept == ("another/kernel: not in the file", "another/bias: not in the file")
    assert report.unused == ("head/bias", "head/kernel")
    np.testing.assert_array_equal(values(other)["another/kernel"], before["another/kernel"])
    assert str(report).splitlines() == [
        "6 variables loaded, 2 kept as they were, 2 unused",
        "  kept: another/kernel: not in the file",
        "  kept: another/bias: not in the file",
        "  unused: head/bias",
        "  unused: head/kernel",
    ]
    many = LoadReport((), tuple("abcdefg"), ())
    assert str(many).splitlines()[-2:] == ["  kept: e", "  kept: 2 more"]

    wider = load_weights(network(width=5), tmp_path / "w.npz")
    assert wider.loaded == ("head/bias",)
    assert "first/kernel: shape (3, 3, 3, 4) against (3, 3, 3, 5)" in wider.kept


def test_a_keras_file_works_too(tmp_path):
    source, target = random_network(), network()
    source.save(tmp_path / "m.keras")
    assert len(load_weights(target, tmp_path / "m.keras").loaded) == 8
    np.testing.assert_array_equal(values(target)["first/kernel"], values(source)["first/kernel"])


def test_nothing_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    np.savez(tmp_path / "trap.npz", **{"first/bias": np.array([Trap()] * 4, object)})
    with pytest.raises(UserError, match=r"trap\.npz: not a weights file"):
        load_weights(network(), tmp_path / "trap.npz")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.zeros(3)}, r"w\.npz: no variable of it fits the network"),
        ({"first/bias": np.array([1, 2, np.nan, 4])}, r"w\.npz: variable first/bias holds NaN or infinite"),
        ({"first/bias": np.array([1, 2, np.inf, 4])}, r"w\.npz: variable first/bias holds NaN or infinite"),
        ({"first/bias": np.array(["a", "b", "c", "d"])}, r"w\.npz: variable first/bias holds <U1 instead of numbers"),
    ],
)
def test_bad_content_is_named(tmp_path, content, message):
    np.savez(tmp_path / "w.npz", **content)
    with pytest.raises(UserError, match=message):
        load_weights(network(), tmp_path / "w.npz")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz: no such weights file"):
        load_weights(network(), tmp_path / "none.npz")
    for name, content in (
        ("text.npz", b"no zip"),
        ("empty.npz", b""),
        ("cut.npz", b"PK\x03\x04cut"),
        ("t.keras", b"x"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: not a weights file"):
            load_weights(network(), tmp_path / name)


def test_states_of_random_generators_are_no_weights():
    """They are numbered over the whole process, so no file could name them."""
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense"), keras.layers.Dropout(0.5)])
    assert any("seed" in variable.path for variable in network.variables)
    assert {path.split("/")[-1] for path in variables_by_path(network)} == {"kernel", "bias"}
