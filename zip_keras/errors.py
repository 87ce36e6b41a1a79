"""The one exception for everything that the user can put right: a file, a config value, a checkpoint."""


class UserError(ValueError):
    """Bad input. The message names the file, the object and the fix; the command line prints it without a trace."""
