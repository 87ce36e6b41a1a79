"""The page in headless Chromium, with a real photograph and the default preset.

`ZIP_KERAS_SCREENSHOTS=DIR` keeps pictures of it.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

for module in ("gradio", "playwright"):
    pytest.importorskip(module, reason=f"{module} comes with the extra 'test'")
photographs = pytest.importorskip("skimage", reason="scikit-image, which comes with the extra 'docs', has a photograph")

import uvicorn  # noqa: E402
from playwright.sync_api import Error, expect, sync_playwright  # noqa: E402

from zip_keras.page.loading import open_model  # noqa: E402
from zip_keras.page.server import make_app  # noqa: E402
from zip_keras.page.start import address_of, open_socket  # noqa: E402

PHOTOGRAPH = Path(photographs.__file__).parent / "data" / "coffee.png"  # 400 x 600, CC0
CUP = (18, 168, 296, 418)  # y1, x1, y2, x2
expect.set_options(timeout=60_000)  # milliseconds: how long an answer takes says how busy the machine is
pytestmark = pytest.mark.slow
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@pytest.fixture(scope="module")
def browser():
    """Playwright's own Chromium, or the one of the machine."""
    with sync_playwright() as playwright:
        own = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        try:
            chromium = playwright.chromium.launch(executable_path=own, args=["--no-sandbox", *CAMERA])
        except Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@contextlib.contextmanager
def running(model, folder):
    """The address of a server of the page."""
    with open_socket("127.0.0.1", 0) as opened:
        server = uvicorn.Server(
            uvicorn.Config(make_app(model, folder), log_level="warning", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        yield address_of(opened)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory):
    """(address, list with an entry for each run of the network)."""
    model, runs = open_model("zip_lite"), []
    look = model.look
    object.__setattr__(model, "look", lambda image: runs.append(image.shape) or look(image))
    with running(model, tmp_path_factory.mktemp("page")) as address:
        yield address, runs


@pytest.fixture
def fake(browser, proposer, tmp_path_factory):
    """(address, model without a network)."""
    with running(proposer.page, tmp_path_factory.mktemp("fake")) as address:
        yield address, proposer


@pytest.fixture
def visit(browser):
    """`visit(address, width, height)`: the page in a window of that size; at the end nothing came from elsewhere."""
    contexts, addresses, hosts, faults = [], set(), set(), []

    def go(address, width, height):
        addresses.add(address.removeprefix("http://"))
        context = browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=width < 600,
            has_touch=width < 600,
            permissions=["camera", "clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#image input[type=file]", state="attached")
        return page

    yield go
    for context in contexts:
        context.close()
    assert hosts - {""} == addresses
    assert not faults


def keep(page, name):
    if folder := os.environ.get("ZIP_KERAS_SCREENSHOTS"):
        page.wait_for_timeout(1000)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def line(page):
    return page.locator("#status p")


def send(page, file):
    page.set_input_files("#image input[type=file]", file)


def drop(page, name, data):
    """Lets a file fall on the place of the image, as a file manager does."""
    with_file = """([name, data]) => {
        const dataTransfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        dataTransfer.items.add(new File([bytes], name, {type: "image/jpeg"}));
        return dataTransfer;
    }"""
    handle = page.evaluate_handle(with_file, [name, base64.b64encode(data).decode()])
    page.dispatch_event("#image .image-container .upload-container >> nth=0", "drop", {"dataTransfer": handle})


def paste(page, data):
    """Ctrl+V, with a PNG file in the clipboard of the browser."""
    copy = """async (data) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        await navigator.clipboard.write([new ClipboardItem({"image/png": new Blob([bytes], {type: "image/png"})})]);
    }"""
    page.bring_to_front()
    page.evaluate(copy, base64.b64encode(data).decode())
    page.keyboard.press("Control+V")


def set_slider(page, name, value):
    page.fill(f"#{name} input[type=number]", str(value))
    page.keyboard.press("Tab")


def saved(page, kind):
    with page.expect_download() as waiting:
        page.click(f"#download_{kind}")
    return waiting.value.suggested_filename, Path(waiting.value.path())


def iou(box, other):
    height, width = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
    common = max(height, 0) * max(width, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return common / (sum(areas) - common)


def test_a_photograph_on_a_desktop(visit, served, tmp_path):
    page, runs = visit(served[0], 1280, 860), served[1]
    expect(page.locator("#download_json")).to_be_disabled()
    send(page, PHOTOGRAPH)
    expect(line(page)).to_contain_text("10 of 1000 proposals · coffee.png, 600 x 400 pixels")
    keep(page, "desktop")
    assert runs == [(400, 600, 3)]

    set_slider(page, "count", 3)
    expect(line(page)).to_contain_text("3 of 1000 proposals")
    name, file = saved(page, "json")
    rows = json.loads(file.read_text())
    assert (name, len(rows)) == ("coffee_boxes.json", 3)
    boxes = [(y, x, y + height, x + width) for x, y, width, height in (row["bbox"] for row in rows)]
    assert max(iou(box, CUP) for box in boxes) > 0.7
    assert saved(page, "csv")[1].read_text().count("\n") == 4
    assert saved(page, "jpg")[1].read_bytes()[:3] == b"\xff\xd8\xff"
    set_slider(page, "iou", 1)
    set_slider(page, "count", 1000)
    expect(line(page)).to_contain_text("1000 of 1000 proposals")
    set_slider(page, "score", 0.99)
    expect(line(page)).to_contain_text("of 1000 proposals, score 0.99 or more")
    set_slider(page, "score", 0)
    page.get_by_label("rank").check()
    expect(page.locator("#status")).to_contain_text("the best")
    assert len(runs) == 1

    page.check("#wanted input")
    expect(page.locator("#attention img")).to_be_visible()
    keep(page, "desktop_attention")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTOGRAPH.read_bytes()[:9000])
    page = visit(served[0], 1280, 860)
    send(page, broken)
    expect(line(page)).to_have_text("broken.jpg: the image is broken or cut short; choose another file")
    expect(page.locator("#picture img")).to_have_count(0)
    expect(page.locator("#download_json")).to_be_disabled()
    keep(page, "broken")


def test_images_are_dropped_and_pasted_each_in_place_of_the_last(visit, fake, encoded_image):
    address, model = fake
    page = visit(address, 1280, 860)
    drop(page, "first.jpg", encoded_image("JPEG", 80, 100))
    expect(line(page)).to_contain_text("3 of 4 proposals · first.jpg, 100 x 80 pixels")
    paste(page, encoded_image("PNG", 90, 120))
    expect(line(page)).to_contain_text("3 of 4 proposals · image.png, 120 x 90 pixels")
    drop(page, "third.jpg", encoded_image("JPEG", 70, 110))
    expect(line(page)).to_contain_text("3 of 4 proposals · third.jpg, 110 x 70 pixels")
    expect(page.locator("#picture img")).to_be_visible()
    assert model.runs == 3


def test_a_phone_and_its_camera(visit, served):
    page = visit(served[0], 390, 844)
    page.click("#image button[aria-label='Capture from camera']")
    page.click("text=Click to Access Webcam")
    page.wait_for_function("document.querySelector('#image video')?.videoWidth > 0")
    page.click("#image button[aria-label='capture photo']")
    expect(line(page)).to_contain_text(re.compile(r"proposals · image\.png, \d+ x \d+ pixels"))
    expect(line(page)).to_contain_text("{1} x {0} pixels".format(*served[1][-1]))
    expect(page.locator("#picture img")).to_be_visible()
    keep(page, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
