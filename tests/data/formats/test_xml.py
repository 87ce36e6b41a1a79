import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zip_keras.data.formats.xml import MAX_BYTES, XmlAnnotation, parse_xml, read_xml
from zip_keras.errors import UserError

VALID = b"""<annotation>
  <filename>a.jpg</filename>
  <size><width>60</width><height>40</height><depth>3</depth></size>
  <object>
    <name> person </name><difficult>1</difficult>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
    <bndbox><xmin>10.5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>
  </object>
</annotation>"""


def test_reads_name_size_box_and_ignores_parts():
    found = parse_xml(VALID, "a.xml")
    assert (found.filename, found.height, found.width) == ("a.jpg", 40, 60)
    (thing,) = found.objects
    assert (thing.name, thing.corners, thing.difficult) == ("person", (10.5, 5, 20, 30), True)


def test_an_unreadable_coordinate_is_nan():
    (thing,) = parse_xml(VALID.replace(b"10.5", b"ten"), "a.xml").objects
    assert math.isnan(thing.corners[0])


@pytest.mark.parametrize("size", [b"0", b"", b" "])
def test_a_size_that_is_not_stated_is_none(size):
    assert parse_xml(VALID.replace(b"<width>60", b"<width>" + size), "a.xml").width is None


BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "ha">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>"""
EXTERNAL = b"""<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>"""
REMOTE_DTD = b"""<!DOCTYPE annotation SYSTEM "http://localhost/x.dtd"><annotation/>"""


@pytest.mark.parametrize("hostile", [BILLION_LAUGHS, EXTERNAL, REMOTE_DTD])
def test_document_types_and_entities_are_refused(hostile):
    with pytest.raises(UserError, match=r"evil\.xml: declares a document type or entities"):
        parse_xml(hostile, "evil.xml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not well-formed"),
        (b"<annotation>", "not well-formed"),
        (b"\x00\x01\x02", "not well-formed"),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "not well-formed"),
        (b"<html/>", "expected <annotation>"),
        (b"<annotation>" + b"<a>" * 50, "nested deeper"),
        (b"<annotation>&undefined;</annotation>", "not well-formed"),
        (b"<annotation><object><bndbox/></object></annotation>", "object 1 has no <name>"),
        (b"<annotation><size><width>wide</width></size></annotation>", 'width is "wide"'),
        (b"<annotation><size><height>-4</height></size></annotation>", 'height is "-4"'),
    ],
)
def test_broken_files_are_named(text, message):
    with pytest.raises(UserError, match=r"bad\.xml") as error:
        parse_xml(text, "bad.xml")
    assert message in str(error.value)


def test_files_are_bounded(tmp_path):
    path = tmp_path / "large.xml"
    path.write_bytes(b"<annotation>" + b" " * MAX_BYTES)
    with pytest.raises(UserError, match="larger than"):
        read_xml(str(path))
    with pytest.raises(UserError, match="cannot be read"):
        read_xml(str(tmp_path / "missing.xml"))


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_give_a_user_error(data):
    _parse_or_user_error(data)


@given(st.integers(0, len(VALID) - 1), st.integers(0, len(VALID)), st.binary(max_size=12))
def test_any_damage_to_a_good_file_parses_or_gives_a_user_error(start, length, replacement):
    _parse_or_user_error(VALID[:start] + replacement + VALID[start + length :])


def _parse_or_user_error(data: bytes) -> None:
    with contextlib.suppress(UserError):  # anything else fails the test
        assert isinstance(parse_xml(data, "fuzz.xml"), XmlAnnotation)
