"""`python -m zip_keras COMMAND ...` is `zip-keras COMMAND ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())
