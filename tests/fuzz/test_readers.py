"""Damaged files of every kind are read, or refused in one sentence."""

import contextlib
from pathlib import Path

import pytest
from fuzz.readers import READERS
from hypothesis import given, settings
from hypothesis import strategies as st

from zip_keras.errors import UserError

SEEDS = {
    name: [file.read_bytes() for file in sorted((Path(__file__).parent / "corpus" / name).iterdir())]
    for name in READERS
}
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), max_size=3)


@pytest.mark.parametrize("reader", READERS)
def test_good_files_are_read(reader):
    for content in SEEDS[reader]:
        READERS[reader](content)


@pytest.mark.parametrize("reader", READERS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(reader, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS[reader])))
    for where, length, replacement in data.draw(DAMAGE):
        start = int(where * len(content))
        content[start : start + length] = replacement
    with contextlib.suppress(UserError):  # anything else fails the test
        READERS[reader](bytes(content))
