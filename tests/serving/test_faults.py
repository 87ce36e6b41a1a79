"""What a retrying client loses when versions change and servers die: nothing."""

import shutil
import threading
import time

import pytest

from tests.serving.servers import ModelServer
from zip_keras.client import Answer, Client, Retry

pytestmark = pytest.mark.slow


class Traffic:
    """Asks from several threads until it is stopped.

    Attributes:
        answers: (image number, answer or error) in the order in which they came.
    """

    def __init__(self, client, images, threads=3):
        self.client, self.images, self.answers = client, images, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(threads)]

    def _ask(self, number):
        while not self._stop.is_set():
            number = (number + 1) % len(self.images)
            try:
                answer = self.client.predict(self.images[number])
            except Exception as error:  # the test looks at it
                answer = error
            self.answers.append((number, answer))
            time.sleep(0.05)  # room for the server to load a version

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, condition, seconds=600):
        """Returns when an answer that came from now on fulfils the condition."""
        start, deadline = len(self.answers), time.monotonic() + seconds
        while not any(isinstance(answer, Answer) and condition(answer) for _, answer in self.answers[start:]):
            assert time.monotonic() < deadline, [answer for _, answer in self.answers[-3:]]
            time.sleep(0.02)


@pytest.fixture(scope="module")
def images(encoded_image):
    return [encoded_image("JPEG", 40 + 16 * n, 64) for n in range(4)]


def test_no_request_is_lost(small_export, images, tmp_path):
    base = tmp_path / "exported"
    shutil.copytree(small_export / "1", base / "1")
    with ModelServer(base, tmp_path / "log.txt") as server:
        retry = Retry(first=0.05, longest=0.5)
        with Client(server.grpc, server.name, timeout=600, retry=retry) as client:
            expected = [client.predict(image).boxes.tolist() for image in images]
            with Traffic(client, images) as traffic:
                traffic.wait_for(lambda answer: answer.version == 1)
                shutil.copytree(base / "1", base / ".2.part")
                (base / ".2.part").rename(base / "2")  # as `zip-keras export` publishes
                traffic.wait_for(lambda answer: answer.version == 2)
                server.kill()
                time.sleep(0.5)
                server.start()
                traffic.wait_for(lambda answer: True)
    assert {answer.version for _, answer in traffic.answers} == {1, 2}
    assert all(answer.boxes.tolist() == expected[number] for number, answer in traffic.answers)
