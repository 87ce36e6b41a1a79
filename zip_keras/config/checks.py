"""Checks of config values; each raises `UserError`."""

import functools
import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zip_keras.errors import UserError


def check_types(cls: type, values: Mapping[str, Any]) -> None:
    """Raise `UserError` for a value that does not have the type of the dataclass's field; ignore unknown fields.

    Config files and overrides are checked by their parser. This function is for values from other sources.
    """
    hints = get_type_hints(cls)
    for name, value in values.items():
        if name in hints and not _is_a(value, hints[name]):
            kind = hints[name].__name__ if isinstance(hints[name], type) else str(hints[name])
            raise UserError(f"{name} must be {kind}, not {value!r}")


def _is_a(value: Any, hint: Any) -> bool:
    """Check a type: numbers must be finite, integers count as floats, booleans not as numbers, lists as tuples."""
    members = get_args(hint)
    if isinstance(hint, UnionType):
        return any(_is_a(value, member) for member in members)
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            return False
        kinds = [members[0]] * len(value) if members[-1] is ... else members
        return len(kinds) == len(value) and all(map(_is_a, value, kinds))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def require(holds: bool, message: str) -> None:
    if not holds:
        raise UserError(message)


def check_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(value is None or value > 0, f"{name} must be above 0, not {value}")


def check_range(config: Any, low: float, high: float, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        bounds = f"from {low} to {high}" if high < math.inf else f"{low} or more"
        require(value is None or low <= value <= high, f"{name} must be {bounds}, not {value}")


def check_choices(config: Any) -> None:
    """Raise `UserError` for a value that is not allowed by its field's `Literal`."""
    for name, choices in _choices(config.__class__).items():
        value = getattr(config, name)
        require(value in choices, f"{name} must be one of {', '.join(map(str, choices))}, not {value}")


@functools.cache
def _choices(cls: type) -> dict[str, tuple[Any, ...]]:
    """The allowed values of every field with a `Literal`, by field name."""
    return {name: get_args(hint) for name, hint in get_type_hints(cls).items() if get_origin(hint) is Literal}
