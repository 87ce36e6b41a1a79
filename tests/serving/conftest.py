import pytest

from tests.serving.servers import WHICH, ModelServer


def pytest_report_header():
    return f"model server: {WHICH}"


@pytest.fixture(scope="session")
def served(small_export, tmp_path_factory):
    """A running server of `small_export`; `served.grpc` and `served.rest` are its addresses."""
    with ModelServer(small_export, tmp_path_factory.mktemp("server") / "log.txt") as server:
        yield server
