"""The web page, built with Gradio (the extra `serve`)."""

import html
import shutil
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zip_keras.errors import UserError
from zip_keras.page.model import Choice, PageModel
from zip_keras.page.session import (
    FILES,
    Seen,
    attention_picture,
    colourings,
    legend,
    picture,
    see,
    summary,
    write_files,
)
from zip_keras.page.start import import_gradio
from zip_keras.plots.colours import Colour, css

KEPT_SECONDS = 3600  # lifetime of a visitor's image and files
KEPT_ANSWERS = 32  # results whose files are kept, because Gradio may still be copying them
MAPS = "Maps with the greatest and the smallest mu, before and after the decision"
HINT = "Drop or paste an image, or take one with the camera."
# Gradio reads the clipboard only when its button is pressed and ignores Ctrl+V. This handler treats a pasted image as
# a dropped one, which replaces the current image.
PASTE = """
() => document.addEventListener("paste", (event) => {
  const image = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (!image) return;
  event.preventDefault();
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(image);
  const place = document.querySelector("#image .image-container .upload-container");
  place.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
})
"""
STYLE = """
footer {display: none !important}
.gradio-container {max-width: 1200px !important; margin: 0 auto !important}
.gradio-container .app {padding: 16px !important}
#title h1 {margin: 0; font-size: 1.5rem}
#title p {margin: 2px 0 0}
#status {padding: 0 !important}
#status p {margin: 0; overflow-wrap: anywhere}
#status ul {display: flex; flex-wrap: wrap; gap: 2px 14px; list-style: none; margin: 6px 0 0; padding: 0}
#status li {margin: 0}
#status span {display: inline-block; width: .8em; height: .8em; margin-right: 5px; border: 1px solid #0006}
#status p.error {color: #dc2626; font-weight: 600}
#picture img {max-height: 70vh; object-fit: contain}
#attention .image-container {overflow-x: auto}
@media (max-width: 640px) {
  .gradio-container .app {padding: 8px !important}
  .gradio-container main {padding: 0 !important}
  #image {height: 260px !important}
  #attention {width: calc(100vw - 32px)}
  #attention .image-container > button {display: block; width: 1000px; max-width: none}
}
"""


class Page:
    """Event handlers of the page. Each returns the new content of some components."""

    def __init__(self, gradio: Any, model: PageModel, folder: Path):
        self.gradio, self.model, self.folder = gradio, model, folder
        self._folders: deque[str] = deque()

    def look(self, upload: dict | None, *choice) -> tuple:
        """Handle a new image, or its removal, and run the network. `upload` is Gradio's description of the file."""
        if upload is None:
            return None, *self._nothing(HINT)
        try:
            # Gradio has checked that the path is one of its uploads.
            seen = see(self.model, Path(upload["path"]).read_bytes(), upload.get("orig_name") or "image")
        except UserError as error:
            return None, *self._nothing(str(error), "error")
        return seen, *self.show(seen, *choice)

    def show(self, seen: Seen | None, count: int, score: float, iou: float, colours: str, scores: bool) -> tuple:
        """Return picture, status and files for the chosen boxes, without running the network."""
        if seen is None:
            return self._nothing(HINT)
        choice = Choice(int(count), score, iou)
        shown = choice.of(seen.found)
        drawn = picture(seen, shown, colours, scores)
        files = write_files(self._new_folder(), seen, shown, drawn)
        buttons = [self.gradio.DownloadButton(value=str(file), interactive=True) for file in files]
        drawn_file = str(files[FILES.index("jpg")])
        return (
            self.gradio.Image(value=drawn_file, visible=True),
            status(summary(seen, shown, choice), legend(shown, colours)),
            *buttons,
        )

    def attend(self, seen: Seen | None, wanted: bool) -> Any:
        """Show map attention if it is selected and there is an image."""
        if seen is None or not wanted:
            return self.gradio.Image(value=None, visible=False)
        return self.gradio.Image(value=attention_picture(self.model, seen), visible=True)

    def _new_folder(self) -> Path:
        """Create the folder of one result. Gradio copies its files, so old folders are deleted later."""
        self._folders.append(tempfile.mkdtemp(dir=self.folder))
        if len(self._folders) > KEPT_ANSWERS:
            shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        return Path(self._folders[-1])

    def _nothing(self, text: str, kind: str = "") -> tuple:
        nothing = self.gradio.Image(value=None, visible=False)
        return (
            nothing,
            status(text, kind=kind),
            *(self.gradio.DownloadButton(value=None, interactive=False) for _ in FILES),
        )


def status(text: str, entries: Sequence[tuple[Colour, str]] = (), kind: str = "") -> str:
    """HTML of a status line that screen readers announce, and a legend. All texts are escaped."""
    swatches = "".join(
        f'<li><span style="background: {css(colour)}"></span>{html.escape(entry)}</li>' for colour, entry in entries
    )
    return f'<p role="status" class="{kind}">{html.escape(text)}</p><ul>{swatches}</ul>'


def build_page(model: PageModel, folder: Path) -> Any:
    """Build the page as `gradio.Blocks`.

    Args:
        model: the model to serve.
        folder: existing folder for the files that visitors download.

    Raises:
        UserError: Gradio is not installed.
    """
    gr = import_gradio()
    page = Page(gr, model, folder)
    kind = "Proposals" if model.class_names is None else "Detections"
    # A local page sends no usage statistics.
    with gr.Blocks(
        title=f"zip-keras: {model.name}", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)
    ) as blocks:
        seen = gr.State(time_to_live=KEPT_SECONDS)
        gr.Markdown(
            f"# {kind} of {html.escape(model.name)}\nImages stay on the machine that runs this page.", elem_id="title"
        )
        with gr.Row():
            with gr.Column(min_width=300):
                image = gr.Image(
                    label="Image",
                    sources=["upload", "clipboard", "webcam"],
                    type="filepath",
                    height=400,
                    elem_id="image",
                )
            with gr.Column(min_width=300):
                look = {"interactive": False, "show_label": False, "buttons": ["fullscreen"], "visible": False}
                drawn = gr.Image(
                    label=kind, type="filepath", alt_text=f"{kind} on the image", elem_id="picture", **look
                )
                line = gr.HTML(status(HINT), elem_id="status")
        with gr.Row():
            count = gr.Slider(
                1, model.most, model.start.count, step=1, label="Boxes at most", min_width=250, elem_id="count"
            )
            score = gr.Slider(0, 1, model.start.score, step=0.01, label="Least score", min_width=250, elem_id="score")
            iou = gr.Slider(
                0, 1, model.start.iou, step=0.01, label="Overlap at most (IoU)", min_width=250, elem_id="iou"
            )
        with gr.Row():
            names = colourings(model)
            colours = gr.Radio(names, value=names[0], label="Colours by", elem_id="colours")
            with gr.Column(min_width=160):
                scores = gr.Checkbox(False, label="Scores in the picture", visible=model.class_names is None)
                wanted = gr.Checkbox(
                    False, label="Map attention (MAD)", info=MAPS, visible=model.attend is not None, elem_id="wanted"
                )
        with gr.Row():
            buttons = [
                gr.DownloadButton(
                    f"Save {'picture' if name == 'jpg' else name}",
                    interactive=False,
                    size="sm",
                    min_width=90,
                    elem_id=f"download_{name}",
                )
                for name in FILES
            ]
        attention = gr.Image(label="Map attention", alt_text=MAPS, elem_id="attention", **look)
        _listen(gr, page, image, seen, [count, score, iou, colours, scores], [drawn, line, *buttons], wanted, attention)
    return blocks


def _listen(gr: Any, page: Page, image, seen, controls, outputs, wanted, attention) -> None:
    private = {"api_visibility": "private"}
    # Without Gradio's decoding, so that pixels and limits are the same as in commands and exports.
    looked = image.change(
        page.look, [image, *controls], [seen, *outputs], preprocess=False, show_progress_on=outputs[0], **private
    )
    looked.then(page.attend, [seen, wanted], attention, **private)
    quick = {"trigger_mode": "always_last", "show_progress": "hidden", **private}
    gr.on([control.input for control in controls], page.show, [seen, *controls], outputs, **quick)
    wanted.input(page.attend, [seen, wanted], attention, **private)
