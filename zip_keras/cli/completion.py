"""`zip-keras completion`: print the completion script of a shell."""

import argparse
from typing import Any

from zip_keras.cli._parsers import COMMANDS, build_parser, program_parser
from zip_keras.utils.optional import optional_import

DESCRIPTION = """\
Prints a script that completes the commands, options and paths of zip-keras in a shell. It needs shtab:
pip install 'zip-keras[completion]'."""
EXAMPLES = """\
  zip-keras completion bash > ~/.local/share/bash-completion/completions/zip-keras
  zip-keras completion zsh > ~/.zfunc/_zip-keras        # a folder of $fpath
  eval "$(zip-keras completion bash)"                   # for this shell alone
"""

_FOLDERS = ("DIR", "RUN", "exported/NAME")  # metavars of arguments that take a folder
_FILES = ("FILE", "PATH", "MODEL", "DATA", "SPEC", "IMAGE", "TABLE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"])


def run(arguments: argparse.Namespace) -> None:
    shtab = optional_import("shtab", "zip-keras completion", "completion")
    print(shtab.complete(_whole_parser(shtab), arguments.shell))


def _whole_parser(shtab: Any) -> argparse.ArgumentParser:
    """One parser with all commands as subparsers, with completions for files and folders."""
    commands = {name: build_parser(name) for name in COMMANDS}
    program = argparse.ArgumentParser(
        prog="zip-keras", parents=[_options_before_the_command()], add_help=False, description="Object proposals"
    )
    choices = program.add_subparsers(metavar="COMMAND")
    for name, parser in commands.items():
        for action in parser._actions:
            metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
            if metavar in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif metavar.startswith(_FILES):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        choices.add_parser(name, parents=[parser], add_help=False, help=COMMANDS[name])
    return program


def _options_before_the_command() -> argparse.ArgumentParser:
    parser = program_parser()
    options = argparse.ArgumentParser(add_help=False)
    for action in parser._actions:
        if action.option_strings:
            options._add_action(action)
    return options
