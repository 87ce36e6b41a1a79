import pytest
import tensorflow as tf

from tests.serving.servers import WHICH, ModelServer


def pytest_report_header():
    return f"model server: {WHICH}"


@pytest.fixture(scope="session")
def loaded(tiny_export):
    """`tiny_export` in this process."""
    return tf.saved_model.load(str(tiny_export / "1"))


@pytest.fixture(scope="session")
def signatures(loaded):
    """Its signatures; they do not keep the variables of their model alive, `loaded` does."""
    return loaded.signatures


@pytest.fixture(scope="session")
def served(tiny_export, tmp_path_factory):
    """A running server of `tiny_export`; `served.grpc` and `served.rest` are its addresses."""
    with ModelServer(tiny_export, tmp_path_factory.mktemp("server") / "log.txt") as server:
        yield server
