"""Config files and overrides: YAML and `key=value` to an `ExperimentConfig` and back, with jsonargparse."""

import dataclasses
import difflib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zip_keras.config import ExperimentConfig, to_dict
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_yaml

if TYPE_CHECKING:
    import jsonargparse

FINETUNING = Path(__file__).with_name("finetune.yaml")  # fine-tuning of the default preset: `train` without a config


def read_config(file: str | Path | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment from a YAML file and `section.key=value` overrides, which take precedence.

    Raises:
        UserError: the file is missing or not valid YAML, a key is unknown (the nearest name is suggested), or a value
            is not valid.
    """
    parser = _parser()
    # jsonargparse rejects an empty file
    arguments = ["--config", str(file)] if file is not None and _checked_content(Path(file)) else []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"override {override!r} is not of the form section.key=value")
        _check_key(key.lstrip("-"), f"override {override!r}")
        arguments.append(f"--{key.lstrip('-')}={value}")
    try:
        built = parser.instantiate(parser.parse_args(arguments))
        return ExperimentConfig(**{field.name: built[field.name] for field in dataclasses.fields(ExperimentConfig)})
    except Exception as error:  # jsonargparse raises several kinds; all of them mean a bad value here
        raise UserError(f"{file or 'config'}: {' '.join(str(error).split())}") from None


@functools.cache
def _parser() -> "jsonargparse.ArgumentParser":
    import jsonargparse

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(ExperimentConfig)
    return parser


def config_text(config: ExperimentConfig) -> str:
    """The whole experiment as YAML."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False)


def config_differences(before: ExperimentConfig, after: ExperimentConfig) -> list[str]:
    """`"section.key: old -> new"` for every value that differs."""
    old, new = dict(_flat(to_dict(before))), dict(_flat(to_dict(after)))
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in sorted(old | new) if old.get(key) != new.get(key)]


def _checked_content(file: Path) -> dict[str, Any]:
    """Read the file and check its keys."""
    if not file.is_file():
        raise UserError(f"{file}: no such config file; configs/ has examples")
    content = read_yaml(file) or {}
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold sections such as `train:` with keys under them")
    for key, value in _flat(content):
        _check_key(key, str(file))
        if key in _sections() and value != {}:
            raise UserError(f"{file}: {key} is {value!r}; it must hold keys, or be left out")
    return content


def _check_key(key: str, where: str) -> None:
    known = _known_keys()
    if key in known:
        return
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    ending = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    hint = next(iter(ending or nearest), None)
    raise UserError(f"{where}: unknown key {key!r}" + (f"; did you mean {hint!r}?" if hint else ""))


@functools.cache
def _known_keys() -> list[str]:
    """All keys, sections included."""
    return sorted({*(key for key, _ in _flat(to_dict(ExperimentConfig()))), *_sections()})


@functools.cache
def _sections() -> frozenset[str]:
    """Keys that hold other keys."""
    keys = [key for key, _ in _flat(to_dict(ExperimentConfig()))]
    parts = [key.split(".") for key in keys]
    return frozenset(".".join(words[:n]) for words in parts for n in range(1, len(words)))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
