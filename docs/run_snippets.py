"""Runs every shell and Python block of README and docs as a reader would: `python docs/run_snippets.py [FILE ...]`.

The blocks of a page run in order, in one folder that holds `photo.jpg`, `configs/`, `scripts/` and `examples/`. What a
block leaves running ends with the page. Where `tensorflow_model_server` is not on the PATH, the loopback server of the
tests takes its place. A block that needs
data or hours is preceded by `<!-- not run: REASON -->`. A block of another language must say which one. Trainings take
steps and sizes from SMALL, and rendered data sets have few scenes: commands must work, their numbers are not checked.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "exported/README.md",
    "CONTRIBUTING.md",
    *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
)
RUN = ("sh", "python")
SHOWN = ("text", "yaml", "json")
SMALL = (
    "train.steps=2 train.batch_size=2 train.warmup_steps=0 train.evaluate_every=2 train.evaluate_images=2 "
    "train.checkpoint_every=2 data.short_side=128 data.long_side=192 data.random_short_sides=[128]"
)
SCENES = 12
MODEL_SERVER = "tensorflow_model_server"
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what it is, and why it is not run, if so."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None


def blocks(page: str) -> Iterator[Block]:
    """The shell and Python blocks of a page.

    Raises:
        SystemExit: a block of another language.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        if found["language"] not in RUN + SHOWN:
            raise SystemExit(f"{page}:{line}: write ```sh, ```python, or one of {', '.join(SHOWN)}")
        if found["language"] in RUN:
            yield Block(page, line, found["language"], found["code"], found["reason"])


def small(code: str) -> str:
    """The commands with few training steps and few scenes."""
    code = code.replace("\\\n", " ")
    code = re.sub(r"(zip-keras train (?!.*--print-config)[^\n#]*)", rf"\1 {SMALL}", code)
    return re.sub(r"--synthetic \d+", f"--synthetic {SCENES}", code)


def run(block: Block, folder: Path) -> tuple[subprocess.CompletedProcess, int]:
    """The block, in a process group of its own, and the group's number."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(folder / "bin")]),
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if block.language == "python":
        command = [sys.executable, "-c", block.code]
    else:
        command = ["bash", "-euo", "pipefail", "-c", small(block.code)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    output, error = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, error), process.pid


def prepare(folder: Path) -> None:
    """What a page's blocks may use: a photograph, the configs and the scripts."""
    from skimage import data, io

    io.imsave(folder / "photo.jpg", data.astronaut())
    for name in ("configs", "scripts", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    stand_in = folder / "bin" / MODEL_SERVER
    stand_in.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tests.serving.loopback "$@"\n')
    stand_in.chmod(0o755)


def main(pages: list[str]) -> int:
    """Exit code 1 if a block failed."""
    if shutil.which(MODEL_SERVER) is None:
        print(f"{MODEL_SERVER} is not on the PATH: tests/serving/loopback.py takes its place", flush=True)
    with ThreadPoolExecutor(2) as pool:  # a page waits for its processes
        failed = sum(pool.map(run_page, pages or sorted(PAGES)))
    print(f"{failed} blocks failed" if failed else "all blocks ran")
    return 1 if failed else 0


def run_page(page: str) -> int:
    """How many blocks of a page failed; each is told as soon as it ends."""
    failed = 0
    groups: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        for block in blocks(page):
            where = f"{block.page}:{block.line}"
            if block.reason:
                print(f"{where}: not run: {block.reason}", flush=True)
                continue
            started = time.monotonic()
            result, group = run(block, Path(name))
            groups.append(group)
            told = f"{where}: exit code {result.returncode}, {time.monotonic() - started:.0f} s"
            if result.returncode:
                failed += 1
                told += f"\n{block.code}\n{result.stdout}\n{result.stderr}"
            print(told, flush=True)
        for group in groups:
            with contextlib.suppress(ProcessLookupError):  # nothing of the block was left
                os.killpg(group, signal.SIGKILL)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
