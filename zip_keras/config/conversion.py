"""Conversion of config dataclasses to and from plain values."""

import dataclasses
from typing import Any


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a dataclass to plain dicts, lists and numbers, for JSON, YAML or a layer's `get_config`."""
    return _plain(dataclasses.asdict(config))


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """The inverse of `to_dict`: lists become tuples, nested dicts become nested dataclasses."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = set(values) - set(fields)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {sorted(unknown)}; it has {sorted(fields)}")
    nested = {
        name: from_dict(f.default_factory, values[name])  # type: ignore[arg-type]
        for name, f in fields.items()
        if name in values and isinstance(f.default_factory, type) and dataclasses.is_dataclass(f.default_factory)
    }
    return cls(**{name: nested.get(name, _freeze(value)) for name, value in values.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _freeze(value: Any) -> Any:
    return tuple(_freeze(v) for v in value) if isinstance(value, (list, tuple)) else value
