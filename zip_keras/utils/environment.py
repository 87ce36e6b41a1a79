"""Record the environment of a measurement or output, without host names. Without TensorFlow."""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from zip_keras.utils.files import atomic_write

ENVIRONMENT_FILE = "environment.json"
PACKAGES = ("zip-keras", "tensorflow", "keras", "numpy", "tf-models-official")

# Flags of Linux's /proc/cpuinfo, newest first. The first that the processor has is reported.
_VECTOR_UNITS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bf16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "asimd": "NEON",
}


def environment() -> dict[str, Any]:
    """Describe this process: `time`, `command`, `python`, `machine`, `cores`, `versions`."""
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": sys.argv,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }


def note_environment(output: str | Path, made_by: Mapping[str, Any]) -> Path:
    """Write the environment of an output: `NAME.environment.json` beside a file, or `environment.json` in a folder.

    Args:
        output: the output file or folder.
        made_by: json values that determine the output: options with their defaults, model, seed.

    Returns:
        The path of the written file.

    Raises:
        UserError: the file cannot be written.
    """
    output = Path(output)
    file = output / ENVIRONMENT_FILE if output.is_dir() else output.with_name(f"{output.stem}.{ENVIRONMENT_FILE}")
    with atomic_write(file) as unfinished:
        content = {**environment(), "made_by": dict(made_by)}
        unfinished.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    return file


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {name: _version(name) for name in PACKAGES}


def machine() -> dict[str, str | int]:
    """The machine type: `{"cores": usable by this process, "architecture": "x86_64", "vector_units": "AVX2"}`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cores": cores, "architecture": platform.machine(), "vector_units": vector_units(_processor_flags())}


def vector_units(flags: set[str]) -> str:
    """The newest vector unit among a processor's flags; "unknown" if there is none."""
    return next((name for flag, name in _VECTOR_UNITS.items() if flag in flags), "unknown")


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
