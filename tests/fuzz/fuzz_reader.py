"""Coverage-guided fuzzing of one reader of `readers.py` by atheris. Not run by pytest.

pip install atheris
python tests/fuzz/fuzz_reader.py READER tests/fuzz/corpus/READER -max_total_time=300
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("ZIP_KERAS_LAZY", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import atheris

with atheris.instrument_imports(include=["zip_keras"]):
    from readers import READERS

    from zip_keras.errors import UserError


def main() -> None:
    read = READERS[sys.argv.pop(1)]

    def once(content: bytes) -> None:
        try:
            read(content)
        except UserError:
            return

    # Ten seconds an input are a hang, 512 MB in one allocation a bomb. The process grows: atheris keeps what it traces.
    atheris.Setup([*sys.argv, "-timeout=10", "-rss_limit_mb=4096", "-malloc_limit_mb=512", "-max_len=4096"], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
