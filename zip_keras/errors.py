"""The exception for everything that the user can fix: a file, a config value, a checkpoint."""


class UserError(ValueError):
    """Bad input. The message names the file, the object and the fix; the command line prints it without a traceback."""
