"""Entry point: find the command, parse its arguments, and print a `UserError` as one line on standard error."""

import argparse
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from zip_keras.cli._parsers import COMMANDS, CommandParser, build_parser, command_name, overview, program_parser
from zip_keras.errors import UserError
from zip_keras.utils.environment import versions
from zip_keras.utils.progress import set_verbosity, verbosity


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a closed pipe, 2 for bad input, 130 if interrupted.

    Args:
        arguments: the command's name and its arguments; None: `sys.argv[1:]`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's messages would break progress bars
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A command that runs another one (`demo`) passes its verbosity on.
    before = verbosity()
    try:
        return _run(words, before)
    except UserError as error:
        if verbosity() > 0:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the pipe, for example `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        set_verbosity(before)


def _run(words: list[str], inherited: int) -> int:
    top = program_parser().parse_args(words)
    if top.help or (not top.version and top.command is None):
        print(overview())
        return 0
    if top.version:
        print("\n".join(f"{name} {version}" for name, version in versions().items()))
        return 0
    if top.command == "help":
        return _help(top.rest)
    name = _known(top.command)
    parser = build_parser(name)
    if "-h" in top.rest or "--help" in top.rest:
        print(parser.format_help(), end="")
        return 0
    parsed = _parse(parser, top)
    set_verbosity(parsed.verbosity or inherited)
    importlib.import_module(f"zip_keras.cli.{name}").run(parsed)
    return 0


def _parse(parser: CommandParser, top: argparse.Namespace) -> argparse.Namespace:
    """Parse the command's arguments, including the options before its name."""
    given = argparse.Namespace(verbosity=top.verbosity, device=top.device)
    parsed, unknown = parser.parse_known_intermixed_args(top.rest, given)
    if unknown:
        nearest = difflib.get_close_matches(unknown[0].partition("=")[0], parser.option_names, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; see {parser.prog} --help"
        raise UserError(f"{parser.prog}: unknown argument {unknown[0]!r}{hint}")
    return parsed


def _help(rest: Sequence[str]) -> int:
    if not rest:
        print(overview())
    for word in rest:
        print(build_parser(_known(word)).format_help(), end="")
    return 0


def _known(word: str) -> str:
    name = command_name(word)
    if name in COMMANDS:
        return name
    nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "zip-keras --help lists the commands"
    raise UserError(f"unknown command {word!r}; {hint}")
