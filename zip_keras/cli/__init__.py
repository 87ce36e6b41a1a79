"""The command line: `zip-keras COMMAND ...`. Each `scripts/COMMAND.py` runs the same command.

A command is a module of this package with `DESCRIPTION`, `EXAMPLES`, `add_arguments(parser)` and `run(arguments)`.
`run` performs the side effects (files, printing) and returns nothing. Bad input raises `UserError`.
"""

from zip_keras.cli.main import main

__all__ = ["main"]
