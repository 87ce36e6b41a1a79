import pytest
import tensorflow as tf

from tests.serving.servers import WHICH, ModelServer


def pytest_report_header():
    return f"model server: {WHICH}"


@pytest.fixture(scope="session")
def loaded(small_export):
    """`small_export` in this process."""
    return tf.saved_model.load(str(small_export / "1"))


@pytest.fixture(scope="session")
def signatures(loaded):
    """Its signatures; they do not keep the variables of their model alive, `loaded` does."""
    return loaded.signatures


@pytest.fixture(scope="session")
def served(small_export, tmp_path_factory):
    """A running server of `small_export`; `served.grpc` and `served.rest` are its addresses."""
    with ModelServer(small_export, tmp_path_factory.mktemp("server") / "log.txt") as server:
        yield server
