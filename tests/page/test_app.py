"""The page's answers and its server, without a browser."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

gradio = pytest.importorskip("gradio", reason="gradio comes with the extra 'serve'")
httpx = pytest.importorskip("httpx")

from zip_keras.errors import UserError  # noqa: E402
from zip_keras.page.app import HINT, Page, status  # noqa: E402
from zip_keras.page.server import make_app  # noqa: E402
from zip_keras.page.start import address_of, open_socket  # noqa: E402


def upload(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data)
    return {"path": str(file), "orig_name": name}


def test_sliders_do_not_run_the_network(proposer, encoded_image, tmp_path):
    page = Page(gradio, proposer.page, tmp_path)
    seen, picture, line, *buttons = page.look(
        upload(tmp_path, "a.png", encoded_image("PNG", 80, 100)), 3, 0, 0.5, "level", False
    )
    assert "3 of 4 proposals" in line
    assert [button.value["orig_name"] for button in buttons] == ["a_boxes.json", "a_boxes.csv", "a_boxes.jpg"]
    for count, score, iou, shown in ((1, 0, 0.5, 1), (4, 0, 1, 4), (4, 0.5, 1, 3), (4, 0.99, 1, 0)):
        assert f"{shown} of 4 proposals" in page.show(seen, count, score, iou, "rank", True)[1]
    assert proposer.runs == 1
    assert picture.visible


def test_maps_are_computed_only_where_they_are_wanted(proposer, encoded_image, tmp_path):
    page = Page(gradio, proposer.page, tmp_path)
    seen = page.look(upload(tmp_path, "a.png", encoded_image("PNG", 80, 100)), 3, 0, 0.5, "level", False)[0]
    assert not page.attend(seen, False).visible
    assert not page.attend(None, True).visible
    assert proposer.attended == 0
    assert page.attend(seen, True).visible
    assert (proposer.attended, proposer.runs) == (1, 1)


def test_a_broken_file_is_told_on_the_page(proposer, tmp_path):
    page = Page(gradio, proposer.page, tmp_path)
    seen, picture, line, *buttons = page.look(upload(tmp_path, "<b>.jpg", b"no image"), 3, 0, 0.5, "level", False)
    assert seen is None
    assert not picture.visible
    assert line.startswith('<p role="status" class="error">&lt;b&gt;.jpg: not a JPEG')
    assert not any(button.interactive for button in buttons)
    assert proposer.runs == 0
    assert HINT in page.look(None)[2]
    assert HINT in page.show(None, 3, 0, 0.5, "level", False)[1]


def test_names_of_classes_are_text(detector):
    assert "<i>" not in status("x", [((1, 2, 3), detector.page.class_names[1])])


def test_files_of_earlier_answers_go(proposer, encoded_image, tmp_path, monkeypatch):
    monkeypatch.setattr("zip_keras.page.app.KEPT_ANSWERS", 2)
    (tmp_path / "answers").mkdir()
    page = Page(gradio, proposer.page, tmp_path / "answers")
    seen = page.look(upload(tmp_path, "a.png", encoded_image("PNG", 80, 100)), 3, 0, 0.5, "level", False)[0]
    for count in (1, 2, 3, 4):
        page.show(seen, count, 0, 1, "level", False)
    assert len(list((tmp_path / "answers").iterdir())) == 2


@pytest.fixture
def ask(proposer, tmp_path):
    """`ask("/path", host="127.0.0.1")`: the answer of the server to a request by that name."""
    import anyio

    app = make_app(proposer.page, tmp_path)

    def get(path, host="127.0.0.1"):
        async def request():
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.get(path)

        return anyio.run(request)

    return get


def test_no_other_machine_and_no_interface_for_programs(ask):
    answer = ask("/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "fonts.googleapis" not in answer.text
    config = ask("/config").json()
    assert not config["analytics_enabled"]
    assert config["footer_links"] == []
    assert ask("/gradio_api/info").json()["named_endpoints"] == {}
    assert ask("/", host="evil.example").status_code == 400  # DNS rebinding


def test_files_of_the_machine_are_not_served(ask, tmp_path):
    assert ask("/gradio_api/file=/etc/passwd").status_code == 403
    (tmp_path / "downloads" / "secret.jpg").write_bytes(b"x")
    assert ask(f"/gradio_api/file={tmp_path}/downloads/secret.jpg").status_code == 403


def test_an_address_that_is_taken_or_not_there():
    with open_socket("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        assert address_of(opened) == f"http://127.0.0.1:{port}"
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port}: cannot be opened \(Address already in use\)"):
            open_socket("127.0.0.1", port)
    with pytest.raises(UserError, match=r"--host 300\.1\.1\.1: no such address"):
        open_socket("300.1.1.1", 0)


@pytest.mark.slow
def test_images_are_deleted_when_the_process_is_terminated(tmp_path):
    program = (
        "from tests.page.conftest import FakeModel\n"
        "from zip_keras.page.server import serve_page\n"
        "from zip_keras.page.start import address_of, open_socket\n"
        "opened = open_socket('127.0.0.1', 0)\n"
        "print(address_of(opened), flush=True)\n"
        "serve_page(FakeModel(False).page, opened)\n"
        "print('ended')\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "ZIP_KERAS_LAZY": "1"}
    serving = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        address = serving.stdout.readline().strip()
        assert b"zip-keras: fake" in urllib.request.urlopen(address, timeout=60).read()
        assert [folder.name[:10] for folder in tmp_path.iterdir()] == ["zip-keras-"]
        serving.send_signal(signal.SIGTERM)
        assert serving.communicate(timeout=60)[0] == "ended\n"
    finally:
        serving.kill()
    assert not list(tmp_path.iterdir())
    assert serving.returncode == 0
