"""Where a number was measured, without naming anybody's machine. Without TensorFlow."""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("zip-keras", "tensorflow", "keras", "numpy", "tf-models-official")

# The newest of these that the processor has says what its vector units can do; names of Linux's /proc/cpuinfo.
_VECTOR_UNITS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bf16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "asimd": "NEON",
}


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {name: _version(name) for name in PACKAGES}


def machine() -> dict[str, str | int]:
    """Kind of machine: `{"cores": that this process may use, "architecture": "x86_64", "vector_units": "AVX2"}`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cores": cores, "architecture": platform.machine(), "vector_units": vector_units(_processor_flags())}


def vector_units(flags: set[str]) -> str:
    """The generation of vector units among a processor's flags; "unknown" where none is named."""
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
