import socket
import sys

import pytest

from zip_keras.cli import main


def refused(words, capsys):
    assert main(["serve", *words]) == 2
    return capsys.readouterr().err


def test_no_such_model(capsys):
    assert "no such model" in refused(["nothing/here"], capsys)


def test_gradio_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "zip-keras serve: needs gradio" in (message := refused([], capsys))
    assert "pip install 'zip-keras[serve]'" in message


def test_a_port_in_use_is_told_before_tensorflow_is_imported(run_lazily):
    pytest.importorskip("gradio", reason="gradio comes with the extra 'serve'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        printed = run_lazily(
            "import contextlib, io, sys\n"
            "from zip_keras.cli import main\n"
            "with contextlib.redirect_stderr(io.StringIO()) as told:\n"
            f"    assert main(['serve', '--port', '{port}']) == 2\n"
            "print('tensorflow' in sys.modules, 'keras' in sys.modules, told.getvalue())"
        )
    assert printed.startswith(f"False False error: 127.0.0.1:{port}: cannot be opened")
