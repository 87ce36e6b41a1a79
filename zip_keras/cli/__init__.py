"""The command line: `zip-keras COMMAND ...`; every `scripts/COMMAND.py` is the same command.

A command is a module of this package with `DESCRIPTION`, `EXAMPLES`, `add_arguments(parser)` and `run(arguments)`.
`run` does the side effects (files, printing) and returns nothing; bad input raises `UserError`.
"""

from zip_keras.cli.main import main

__all__ = ["main"]
