"""Every library that the package imports is declared in setup.cfg."""

import ast
import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Distributions whose modules have another name, by module.
DISTRIBUTION = {
    "ai_edge_litert": "ai-edge-litert",
    "PIL": "pillow",
    "apache_beam": "apache-beam",
    "cv2": "opencv-contrib-python-headless",
    "google": "protobuf",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
    "official": "tf-models-official",
    "orbit": "tf-models-official",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "yaml": "pyyaml",
}


def declared() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    words = {re.split(r"[\[<>=;~! ]", line.strip())[0].lower() for text in lines for line in text.splitlines()}
    return {word for word in words if word and not word.startswith(("%", "#"))}


def imported() -> dict[str, str]:
    """Top-level module -> a file that imports it, by statement or by `optional_import`."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "zip_keras").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in ("optional_import", "import_module") and isinstance(node.args[0].value, str):
                    names = [node.args[0].value]
            for name in names:
                found.setdefault(name.partition(".")[0], str(file.relative_to(ROOT)))
    return found


def test_every_import_is_declared():
    own = {*sys.stdlib_module_names, "zip_keras"}
    modules = {name: file for name, file in imported().items() if name not in own}
    assert {"numpy", "keras", "tensorflow", "PIL", "scipy", "google_crc32c"} <= set(modules)
    missing = {name: file for name, file in modules.items() if DISTRIBUTION.get(name, name).lower() not in declared()}
    assert not missing, f"imported but not in setup.cfg: {missing}"


def test_files_that_are_read_at_run_time_are_packaged():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = config["options.package_data"]["zip_keras"].split()
    package = ROOT / "zip_keras"
    packaged = {file for pattern in patterns for file in package.glob(pattern)}
    others = {file for file in package.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert others <= packaged, f"not in package_data: {sorted(map(str, others - packaged))}"
