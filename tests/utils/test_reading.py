"""Json and YAML within budgets: what passes, what is refused, and that refusing costs little."""

import contextlib
import json
import os
import tracemalloc

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zip_keras.errors import UserError
from zip_keras.utils.reading import Budget, parse_json, parse_yaml, read_bytes, read_json, read_text

SMALL = Budget(bytes=100_000, nodes=1000, depth=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_ordinary_json_is_read_as_by_the_standard_library(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(text, "x") == json.loads(text)


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_ordinary_yaml_is_read_as_by_pyyaml(value):
    text = yaml.safe_dump(value)
    assert parse_yaml(text, "x") == yaml.safe_load(text)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | st.text('[]{}:,"\\ud80c1e9-&*!<?| \n', max_size=60).map(str.encode))
def test_anything_is_read_or_refused(content):
    for parse, given_ in ((parse_json, content), (parse_yaml, content.decode("utf-8", "replace"))):
        with contextlib.suppress(UserError):  # anything else fails the test
            parse(given_, "x", SMALL)


BOMBS = {
    "nested lists": "[" * 90_000,
    "nested objects": '{"a":' * 15_000,
    "closed nested lists": "[" * 40_000 + "]" * 40_000,
    "many values": "[" + "0," * 40_000 + "0]",
    "many keys": "{" + '"a":0,' * 9_000 + '"a":0}',
    "too many bytes": '"' + "a" * 200_000 + '"',
    "half a surrogate pair": '["\\ud800"]',
    "half a pair as a key": '{"\\uDC00x": 1}',
    "two first halves": '"\\ud83d\\ud83d"',
    "half a pair behind a backslash": '"\\\\\\ud800"',
}


@pytest.mark.parametrize("what", BOMBS)
def test_json_beyond_the_budget_is_refused_before_it_is_built(what):
    tracemalloc.start()
    with pytest.raises(UserError, match=r"^x: (holds|lists|larger|a text)"):
        parse_json(BOMBS[what], "x", SMALL)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ['"\\ud83d\\ude00"', '"\\\\ud800"', '"[[[[[[[[[[[["', '"\\"[[[[[[[[[["', '["\\\\", "]"]']
)
def test_json_that_only_looks_bad_is_read(text):
    assert parse_json(text, "x", SMALL) == json.loads(text)


def test_large_numbers_of_json_stay_numbers():
    assert parse_json(f"[{2**63 - 1}, {-(2**63)}, {2**63}, 1{'0' * 400}]", "x") == [
        2**63 - 1,
        -(2**63),
        2.0**63,
        float("inf"),
    ]


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


YAML_BOMBS = {
    "billion laughs": laughs(9),
    "an alias of itself": "a: &a [*a]",
    "an alias of itself in a mapping": "&a {b: *a}",
    "nesting": "[" * 2000,
    "nesting by aliases": "a: &a [[[[x]]]]\nb: &b [[[[*a]]]]\nc: [[[[*b]]]]",
    "a number of many digits": "a: " + "9" * 5000,
    "a sexagesimal number": "a: 1" + ":59" * 3000,
    "a number beyond 64 bits": "a: 123456789012345678901234567890",
    "a hexadecimal number beyond 64 bits": "a: 0x" + "f" * 40,
    "half a surrogate pair": '"\\ud800"',
    "an impossible date": "a: 2001-99-99",
    "an object": "!!python/object/apply:os.system [ls]",
    "a list as a key": "? [a]\n: b",
    "an unknown alias": "a: *nothing",
    "a NUL": "a: \0",
    "many values": "a: [" + "0, " * 3000 + "]",
}


@pytest.mark.parametrize("what", YAML_BOMBS)
def test_yaml_bombs_are_one_clear_sentence(what):
    with pytest.raises(UserError, match=r"^x\.yaml: ") as raised:
        parse_yaml(YAML_BOMBS[what], "x.yaml", SMALL)
    assert len(str(raised.value)) < 500


def test_honest_aliases_and_merges_are_read():
    text = "base: &base {a: 1, b: [1, 2]}\nother: {<<: *base, b: 3}\nsame: *base"
    assert parse_yaml(text, "x") == yaml.safe_load(text)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe: cannot be read .*not a regular file"):
        read_bytes(tmp_path / "pipe", 10)
    with pytest.raises(UserError, match="cannot be read"):
        read_bytes(tmp_path, 10)
    with pytest.raises(UserError, match="NUL"):
        read_bytes("a\0b", 10)
    with pytest.raises(UserError, match=r"No such file"):
        read_json(tmp_path / "missing.json")


def test_text_is_utf_8_with_or_without_a_mark(tmp_path):
    file = tmp_path / "text"
    file.write_bytes(b"\xef\xbb\xbf\xc3\xa9")
    assert read_text(file) == "é"
    file.write_bytes(b"ok \xff")
    with pytest.raises(UserError, match=r"not a UTF-8 text file \(byte 3\)"):
        read_text(file)
    file.write_bytes(b"12345")
    with pytest.raises(UserError, match="larger than the limit of 4 bytes"):
        read_text(file, max_bytes=4)
