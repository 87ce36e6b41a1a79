"""Images are read while the network works."""

import threading
from types import SimpleNamespace

import pytest

from zip_keras.errors import UserError
from zip_keras.inference import runner


def records(count):
    return [SimpleNamespace(file=str(number), offset=0, length=-1) for number in range(count)]


def test_in_order_with_their_errors(monkeypatch):
    def load(record):
        if record.file == "2":
            raise UserError("2: does not decode")
        return f"pixels of {record.file}"

    monkeypatch.setattr(runner, "load_image", load)
    found = list(runner.load_images(records(5)))
    assert [record.file for record, _ in found] == list("01234")
    assert [str(image) for _, image in found] == [
        "2: does not decode" if n == 2 else f"pixels of {n}" for n in range(5)
    ]
    assert isinstance(found[2][1], UserError)


def test_the_next_are_read_while_the_caller_works_and_no_more(monkeypatch):
    started, third = [], threading.Event()

    def load(record):
        started.append(record.file)
        if len(started) == 3:
            third.set()

    monkeypatch.setattr(runner, "load_image", load)
    images = runner.load_images(records(9), ahead=2)
    next(images)
    assert third.wait(60)  # without a call for the second
    assert len(started) == 3
    images.close()
    assert len(started) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_other_errors_reach_the_caller(monkeypatch, error):
    def load(record):
        raise error

    monkeypatch.setattr(runner, "load_image", load)
    with pytest.raises(error):
        list(runner.load_images(records(2)))
