"""Every command line in README, docs and the headers of configs is one that its parser takes."""

import re
import shlex
from pathlib import Path

import pytest

from zip_keras.cli._parsers import COMMANDS, build_parser, command_name

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
START = re.compile(r"^(?:zip-keras |python scripts/)(\w[\w-]*)(?:\.py)? ?(.*)$")


def documented():
    """(where, command, arguments) of every documented line."""
    for page in (ROOT / "README.md", ROOT / "exported/README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            yield from lines_of(page, block)
    for config in sorted((ROOT / "configs").rglob("*.yaml")):
        header = re.findall(r"^# ?(.*)$", config.read_text(encoding="utf-8"), re.M)
        yield from lines_of(config, "\n".join(line.strip() for line in header))


def lines_of(file, text):
    for line in text.replace("\\\n", " ").splitlines():
        found = START.match(line.strip())
        if found and not found[2].startswith("is "):
            yield pytest.param(found[1], shlex.split(found[2], comments=True), id=f"{file.name}: {line.strip()[:60]}")


def test_most_commands_are_documented():
    names = {command_name(parameters.values[0]) for parameters in documented()}
    assert {"propose", "train", "evaluate", "export", "prepare_data", "compare", "ablate"} <= names


@pytest.mark.parametrize(("name", "arguments"), documented())
def test_documented_command(name, arguments):
    if name == "help":
        return
    assert command_name(name) in COMMANDS
    parsed, unknown = build_parser(command_name(name)).parse_known_intermixed_args(arguments)
    assert parsed is not None
    assert not unknown
