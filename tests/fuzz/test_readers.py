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
SLOW = {"mat": 3}  # a process each
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), max_size=3)


@pytest.mark.parametrize("reader", READERS)
def test_good_files_are_read(reader):
    for content in SEEDS[reader]:
        READERS[reader](content)


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(reader):
    @settings(deadline=None, max_examples=SLOW.get(reader, 25))
    @given(data=st.data())
    def check(data):
        content = bytearray(data.draw(st.sampled_from(SEEDS[reader])))
        for where, length, replacement in data.draw(DAMAGE):
            start = int(where * len(content))
            content[start : start + length] = replacement
        with contextlib.suppress(UserError):  # anything else fails the test
            READERS[reader](bytes(content))

    check()


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "found").iterdir()), ids=lambda file: file.name)
def test_what_the_fuzzers_found_is_refused(file):
    """`READER-WHAT`: 780 million places in a pickle, an array's damaged state in one, a crash of SciPy's reader."""
    with pytest.raises(UserError, match=r"damaged|not a readable pickle|not a MATLAB file"):
        READERS[file.name.partition("-")[0]](file.read_bytes())
