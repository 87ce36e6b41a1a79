"""Writes the reference pages of the site: configuration, commands and API. mkdocs-gen-files runs it at every build.

The pages exist only in the built site, so they cannot differ from the code. Nothing here imports TensorFlow.
"""

import argparse
import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["ZIP_KERAS_LAZY"] = "1"  # before the package is imported

import griffe  # noqa: E402
import mkdocs_gen_files  # noqa: E402

from zip_keras.cli._parsers import GROUPS, build_parser  # noqa: E402
from zip_keras.config import ExperimentConfig  # noqa: E402

ROOMS = (
    "config", "ops", "layers", "backbones", "targets", "losses", "models", "weights", "presets", "data", "predictions",
    "evaluation", "plots", "inference", "client", "training", "experiments", "analysis", "export", "batch", "page",
    "utils",
)  # fmt: skip


def main() -> None:
    package = griffe.load("zip_keras", search_paths=[str(ROOT)])
    pages = {
        "reference/configuration.md": configuration_page(),
        "reference/commands.md": commands_page(),
        "reference/api/index.md": public_page(package),
        **{f"reference/api/{room}.md": room_page(room, package) for room in ROOMS},
    }
    for name, text in pages.items():
        with mkdocs_gen_files.open(name, "w") as page:
            page.write(text)


def configuration_page() -> str:
    """Every key of an experiment with its type, default and meaning, from the dataclasses and their docstrings."""
    lines = [
        "# Configuration reference",
        "",
        "A config is a YAML file with the sections below. `section.key=value` on the command line wins over the file.",
        "`zip-keras train --print-config` prints all values of an experiment. The defaults are the paper's. Small data",
        "sets need other values: the files in `configs/` show which.",
        "",
    ]
    for section in dataclasses.fields(ExperimentConfig):
        lines += [f"## {section.name}", "", *_section(section.name, section.default_factory), ""]
    return "\n".join(lines)


def _section(prefix: str, config: type) -> Iterator[str]:
    summary, attributes = _documented(config)
    fields = {field.name: field for field in dataclasses.fields(config)}
    nested = {name: f.default_factory for name, f in fields.items() if isinstance(f.default_factory, type)}
    described = {name for names, _ in attributes for name in names}
    if described | set(nested) != set(fields):
        raise ValueError(f"{config.__qualname__}: the docstring describes {sorted(described ^ set(fields))} wrongly")
    yield from (summary, "")
    for names, text in attributes:
        for name in names:
            yield f"`{prefix}.{name}` ({_type(fields[name].type)}, default `{_default(fields[name].default)}`)"
        yield from (f":   {_sentence(text)}", "")
    for name, inner in nested.items():
        yield from (f"### {prefix}.{name}", "", *_section(f"{prefix}.{name}", inner))


def _documented(config: type) -> tuple[str, list[tuple[list[str], str]]]:
    """The summary of a dataclass's docstring, and its attributes: names and description."""
    summary, _, attributes = inspect.getdoc(config).partition("\n\nAttributes:\n")
    items = re.findall(r"^    (\w[\w, ]*): (.*(?:\n     +.*)*)", attributes, re.M)
    return summary, [(names.split(", "), text) for names, text in items]


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(kind))
    return f"`{kind.__name__ if isinstance(kind, type) and not get_args(kind) else kind}`"


def _default(value: Any) -> str:
    """As in YAML."""
    return json.dumps(value)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def commands_page() -> str:
    """Every command with its options, from the parsers."""
    lines = [
        "# Command reference",
        "",
        "`zip-keras COMMAND` runs a command. In a checkout, `python scripts/COMMAND.py` is the same. Every command has",
        "`--help`. The exit code is 0 after success, 2 for bad input and 130 after Ctrl-C. Bad input gives one line on",
        "standard error that names the file, the object and the fix.",
        "",
    ]
    for title, group in GROUPS.items():
        lines += [f"## {title.capitalize()}", ""]
        for name in group:
            lines += [*_command(name), ""]
    return "\n".join(lines)


def _command(name: str) -> Iterator[str]:
    parser = build_parser(name)
    yield f"### {name} {{ #{name} }}"
    yield ""
    yield parser.description or ""
    yield ""
    for group in parser._action_groups:
        shown = [a for a in group._group_actions if a.help != argparse.SUPPRESS and a.dest != "help"]
        if not shown:
            continue
        yield f"**{(group.title or 'options').capitalize()}**"
        yield ""
        for action in shown:
            yield _signature(action)
            text = " ".join((action.help or "").split()) % {**vars(action), "prog": parser.prog}
            if action.choices is not None and "{" not in text:
                text += f" (choices: {', '.join(map(str, action.choices))})"
            yield f":   {_sentence(text) if text else '(see above)'}"
            yield ""
    examples = (parser.epilog or "").removeprefix("examples:\n")
    yield "```sh"
    yield "\n".join(line[2:] if line.startswith("  ") else line for line in examples.rstrip().splitlines())
    yield "```"


def _signature(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    value = " ".join(value) if isinstance(value, tuple) else value
    repeated = {"*": f"[{value} ...]", "+": f"{value} [{value} ...]", "?": f"[{value}]", None: value, 0: ""}
    shape = repeated.get(action.nargs, value)
    return "`" + " ".join(filter(None, [", ".join(action.option_strings), shape])) + "`"


def public_page(package: griffe.Object) -> str:
    """What `import zip_keras` offers."""
    lines = [
        "# Python API",
        "",
        "`import zip_keras` registers the project's classes with Keras and offers the names below. The pages of the",
        "rooms list the rest. Boxes are float32 `[y1, x1, y2, x2]` in pixels.",
        "",
    ]
    for name in sorted(str(export).strip("'\"") for export in package.exports or []):
        member = package.members[name]
        path = member.target_path if member.is_alias else member.path
        lines += [f"::: {path}", "    options:", "      heading_level: 2", "      show_root_full_path: false", ""]
    return "\n".join(lines)


def room_page(room: str, package: griffe.Object) -> str:
    """The modules of a room with what they define."""
    lines = [f"# zip_keras.{room}", ""]
    for module in _modules(package[room]):
        lines += [f"::: {module.path}", "    options:", "      heading_level: 2", ""]
    return "\n".join(lines)


def _modules(module: griffe.Object) -> Iterator[griffe.Object]:
    defines = any(not member.is_alias and not member.is_module for member in module.members.values())
    if module.has_docstring or defines:
        yield module
    for name, member in sorted(module.members.items()):
        if not member.is_alias and member.is_module and not name.startswith("_"):
            yield from _modules(member)


main()
