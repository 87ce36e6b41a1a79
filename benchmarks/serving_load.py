"""Load and faults: mixed images and garbage against a server, by gRPC and REST, at several concurrencies.

    zip-keras export --model zip_lite --output exported/load --scales 64 --long-side 96 --max-proposals 20
    python benchmarks/serving_load.py --export exported/load --requests 10000 --plot memory.png

starts `tensorflow_model_server` where it is on the PATH, else tests/serving/loopback.py, and says which. Each answer is
compared with the one that the export gives in this process. At the last concurrency, a new version is published after a
third of the requests, and the server is killed and started again after two thirds. The exit code is 1 where an answer
is wrong, an error has another code than it should, a request is lost, or the server's memory grows after warm-up.
"""

import argparse
import io
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.serving.servers import WHICH, ModelServer  # noqa: E402
from zip_keras.client import Client, Retry, ServerError  # noqa: E402

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
PATIENCE = 900.0  # seconds for a request and for the start of a server; a busy machine is no failure
GROWTH = 1.05  # of the last quarter's memory over the second quarter's


@dataclass(frozen=True)
class Request:
    """What is sent and what must come back.

    Attributes:
        kind: for the report.
        signature, inputs: see `Client.call`.
        expected: outputs of the one image; None: no image that can be decoded; a str: gRPC's code of the error.
    """

    kind: str
    signature: str
    inputs: dict[str, Any]
    expected: dict[str, np.ndarray] | str | None


@dataclass
class Level:
    """The results at one concurrency and transport."""

    concurrency: int
    transport: str
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    versions: set[int | None] = field(default_factory=set)

    def row(self) -> str:
        """A row of a Markdown table; times in milliseconds."""
        percentiles = np.percentile(np.array(self.times) * 1000, [50, 90, 99, 100])
        numbers = " | ".join(f"{value:.0f}" for value in percentiles)
        count, wrong = len(self.times), len(self.wrong)
        return f"| {self.transport} | {self.concurrency} | {count} | {count / self.seconds:.0f} | {numbers} | {wrong} |"


def make_requests(encoded: Any, seed: int = 0) -> list[Request]:
    """Requests of all kinds; three of four are images, all different.

    Args:
        encoded: that signature of the export, loaded in this process.
        seed: of the images.
    """
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    images = [_image(rng, kind) for kind in FORMATS for _ in range(9)]
    requests = []
    for content in images:
        outputs = {name: values.numpy()[0] for name, values in encoded(image_bytes=tf.constant([content])).items()}
        requests.append(Request("image", "encoded", {"image_bytes": [content]}, outputs))
    _refuse_equal(requests)
    bomb = bytearray(images[9])
    bomb[16:24] = (30_000).to_bytes(4, "big") * 2
    garbage = [b"", b"text", rng.bytes(5000), b"\xff\xd8\xff" + rng.bytes(500), bytes(bomb)]
    garbage += [content[: len(content) * 2 // 3] for content in images[:5]]
    requests += [Request("garbage", "encoded", {"image_bytes": [content]}, None) for content in garbage]
    requests += [
        Request("wrong signature", "none", {"image_bytes": [images[0]]}, "FAILED_PRECONDITION"),
        Request("wrong input", "encoded", {"pixels": [images[0]]}, "INVALID_ARGUMENT"),
        Request("wrong type", "serving_default", {"image_bytes": [b"x"]}, "INVALID_ARGUMENT"),
        Request("no pixels", "serving_default", {"images": np.zeros((1, 0, 5, 3), np.uint8)}, "INVALID_ARGUMENT"),
    ]
    return requests


def run_level(server: ModelServer, requests: list[Request], transport: str, concurrency: int, count: int, observe: Any):
    """Sends `count` requests in random order; `observe(done)` is called after each."""
    level = Level(concurrency, transport)
    places = np.random.default_rng(concurrency).integers(0, len(requests), count)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in places:
        waiting.put(int(place))
    lock = threading.Lock()
    address = server.grpc if transport == "gRPC" else server.rest
    with Client(address, server.name, timeout=PATIENCE, retry=Retry(first=0.05, longest=1)) as client:

        def work() -> None:
            while True:
                try:
                    request = requests[waiting.get_nowait()]
                except queue.Empty:
                    return
                started = time.perf_counter()
                wrong, version = _ask(client, request)
                with lock:
                    level.times.append(time.perf_counter() - started)
                    level.kinds[request.kind] = level.kinds.get(request.kind, 0) + 1
                    level.versions.add(version)
                    if wrong:
                        level.wrong.append(f"{request.kind}: {wrong}")
                    done = len(level.times)
                observe(done)

        threads = [threading.Thread(target=work) for _ in range(concurrency)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        level.seconds = time.perf_counter() - started
    if len(level.times) < count:
        level.wrong.append(f"{count - len(level.times)} requests are lost")
    return level


def memory_of(server: ModelServer) -> float:
    """Resident memory of the server, MB (Linux)."""
    assert server.process is not None
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grows(curve: list[float]) -> bool:
    """Whether the last quarter of a curve is higher than its second quarter; the first one is warm-up."""
    quarter = len(curve) // 4
    return quarter > 0 and float(np.median(curve[-quarter:])) > GROWTH * float(np.median(curve[quarter : 2 * quarter]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="folder of versions")
    parser.add_argument("--requests", type=int, default=10_000, help="at all concurrencies together (default: 10000)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--plot", type=Path, help="picture of the server's memory")
    given = parser.parse_args()
    import tensorflow as tf

    count = given.requests // (2 * len(given.concurrency))
    newest = max((f for f in given.export.iterdir() if f.name.isdigit()), key=lambda f: int(f.name))
    loaded = tf.saved_model.load(str(newest))
    requests = make_requests(loaded.signatures["encoded"])
    curve: list[float] = []  # of one process: up to the kill
    failures: list[str] = []
    print(f"server: {WHICH}")
    print("| transport | concurrency | requests | a second | p50 ms | p90 | p99 | max | wrong |\n|" + " --- |" * 9)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "exported"
        shutil.copytree(newest, base / "1")
        with ModelServer(base, Path(name) / "log.txt", "load") as server:
            for concurrency in given.concurrency:
                for transport in ("gRPC", "REST"):
                    last = concurrency == given.concurrency[-1] and transport == "REST"
                    if last:
                        failures += _judge(curve, given.plot)
                    observe = _Faults(server, base, count) if last else _Memory(server, curve)
                    level = run_level(server, requests, transport, concurrency, count, observe)
                    print(level.row(), flush=True)
                    failures += level.wrong
                    if last:
                        failures += observe.failures()
                    elif server.process is None or server.process.poll() is not None:
                        failures.append("the server has ended")
    print("\n".join(failures[:20]) or "every answer is right, every error has its code, nothing is lost")
    return 1 if failures else 0


def _judge(curve: list[float], plot: Path | None) -> list[str]:
    """Prints and draws the memory of the server before it is killed; what is wrong with it."""
    print(f"memory of the server: {curve[len(curve) // 4]:.0f} MB after a quarter, {curve[-1]:.0f} MB at the end")
    if plot:
        _plot(curve, plot)
    return ["the server's memory grows after warm-up"] if grows(curve) else []


class _Memory:
    """Notes the server's memory after every twentieth request."""

    def __init__(self, server: ModelServer, curve: list[float]):
        self.server, self.curve = server, curve

    def __call__(self, done: int) -> None:
        if done % 20 == 0:
            self.curve.append(memory_of(self.server))


class _Faults:
    """Publishes a version after a third of the requests, kills and starts the server after two thirds."""

    def __init__(self, server: ModelServer, base: Path, count: int):
        self.server, self.base, self.count = server, base, count
        self._threads: list[threading.Thread] = []

    def __call__(self, done: int) -> None:
        action = {self.count // 3: self._publish, 2 * self.count // 3: self._restart}.get(done)
        if action:
            self._threads.append(threading.Thread(target=action))
            self._threads[-1].start()

    def failures(self) -> list[str]:
        """What did not happen."""
        for thread in self._threads:
            thread.join()
        with Client(self.server.grpc, self.server.name) as client:
            newest = client.versions()[0]
        return [] if (newest.version, newest.state) == (2, "AVAILABLE") else [f"version 2 is not served: {newest}"]

    def _publish(self) -> None:
        shutil.copytree(self.base / "1", self.base / ".2.part")
        (self.base / ".2.part").rename(self.base / "2")

    def _restart(self) -> None:
        self.server.kill()
        self.server.start(PATIENCE)


def _ask(client: Client, request: Request) -> tuple[str | None, int | None]:
    """What is wrong with the answer, if anything, and the version that gave it."""
    try:
        outputs, version = client.call(request.signature, request.inputs)
    except ServerError as error:
        accepted = (request.expected, "INVALID_ARGUMENT" if request.expected == "FAILED_PRECONDITION" else None)
        # HTTP has one status, 400, for both.
        return (None if error.code in accepted else f"{error.code}: {error}"), None
    if isinstance(request.expected, str):
        return f"answered, not {request.expected}", version
    if request.expected is None:
        wrong = bool(np.any(outputs["decoded"])) or bool(np.any(outputs["valid"]))
        return ("garbage was decoded" if wrong else None), version
    for name in ("boxes", "scores", "valid", "levels"):
        if not np.allclose(
            np.asarray(outputs[name])[0], request.expected[name], atol=1e-2 if name == "boxes" else 1e-4
        ):
            return f"{name} are not those of this image", version
    return None, version


def _image(rng: np.random.Generator, kind: str) -> bytes:
    from PIL import Image

    height, width = rng.integers(8, 300, 2)
    y, x = np.mgrid[:height, :width] / rng.uniform(2, 30, 2)[:, None, None]
    pixels = 127 + 127 * np.stack([np.sin(x + y), np.cos(x * rng.uniform(0.5, 2)), np.sin(y)], axis=-1)
    mode = str(rng.choice(["RGB", "L", "P"] if kind != "JPEG" else ["RGB", "L"]))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def _refuse_equal(requests: list[Request]) -> None:
    """An answer to the wrong request is seen only where the answers differ."""
    for place, one in enumerate(requests):
        for other in requests[:place]:
            assert isinstance(one.expected, dict)
            assert isinstance(other.expected, dict)
            if np.allclose(one.expected["boxes"], other.expected["boxes"], atol=0.5):
                raise SystemExit("two images have the same boxes; change the seed")


def _plot(curve: list[float], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.plot(20 * np.arange(1, len(curve) + 1), curve)
    axes.set(xlabel="requests", ylabel="memory of the server, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
