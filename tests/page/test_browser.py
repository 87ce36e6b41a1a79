"""The page in headless Chromium, with a real photograph and the default preset.

`ZIP_KERAS_SCREENSHOTS=DIR` keeps pictures of it.
"""

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


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory):
    """(address, list with an entry for each run of the network)."""
    model, runs = open_model("zip_lite"), []
    look = model.look
    object.__setattr__(model, "look", lambda image: runs.append(image.shape) or look(image))
    with open_socket("127.0.0.1", 0) as opened:
        app = make_app(model, tmp_path_factory.mktemp("page"))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        yield address_of(opened), runs
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def visit(browser, served):
    """`visit(width, height)`: the page in a window of that size; at the end nothing came from another machine."""
    contexts, hosts, faults = [], set(), []

    def go(width, height):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=width < 600,
            has_touch=width < 600,
            permissions=["camera"],
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(served[0])
        page.wait_for_selector("#image input[type=file]", state="attached")
        return page

    yield go
    for context in contexts:
        context.close()
    assert hosts - {""} == {served[0].removeprefix("http://")}
    assert not faults


def keep(page, name):
    if folder := os.environ.get("ZIP_KERAS_SCREENSHOTS"):
        page.wait_for_timeout(1000)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def line(page):
    return page.locator("#status p")


def send(page, file):
    page.set_input_files("#image input[type=file]", file)


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
    page, runs = visit(1280, 860), served[1]
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
    page = visit(1280, 860)
    send(page, broken)
    expect(line(page)).to_have_text("broken.jpg: the image is broken or cut short; choose another file")
    expect(page.locator("#picture img")).to_have_count(0)
    expect(page.locator("#download_json")).to_be_disabled()
    keep(page, "broken")


def test_a_phone_and_its_camera(visit, served):
    page = visit(390, 844)
    page.click("#image button[aria-label='Capture from camera']")
    page.click("text=Click to Access Webcam")
    page.wait_for_function("document.querySelector('#image video')?.videoWidth > 0")
    page.click("#image button[aria-label='capture photo']")
    expect(line(page)).to_contain_text(re.compile(r"proposals · image\.png, \d+ x \d+ pixels"))
    expect(line(page)).to_contain_text("{1} x {0} pixels".format(*served[1][-1]))
    expect(page.locator("#picture img")).to_be_visible()
    keep(page, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
