"""Progress on standard error."""

import sys

import pytest

from zip_keras.utils.progress import note, set_verbosity, with_progress


@pytest.fixture(params=["tqdm", "lines"])
def kind(request, monkeypatch):
    if request.param == "lines":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        pytest.importorskip("tqdm")


@pytest.fixture
def quiet():
    set_verbosity(-1)
    yield
    set_verbosity(0)


def test_the_bar_starts_after_the_first_item(kind, capsys):
    told = []
    for item in with_progress("abc", 3, first="building the graph ..."):
        told.append((item, capsys.readouterr().err))
    assert [item for item, _ in told] == ["a", "b", "c"]
    assert told[0][1] == "building the graph ...\n"
    assert "3" in capsys.readouterr().err


def test_items_that_were_done_before_count(kind, capsys):
    assert list(with_progress("ab", 5, done=3)) == ["a", "b"]
    assert "5/5" in (told := capsys.readouterr().err) or "5 of 5 images" in told


@pytest.mark.parametrize("items", ["", "a"])
def test_few_items(kind, items):
    assert "".join(with_progress(items, len(items), first="building ...")) == items


def test_quiet_is_silent(kind, quiet, capsys):
    assert "".join(with_progress("abc", 3, first="building ...")) == "abc"
    note("a note")
    assert capsys.readouterr().err == ""
