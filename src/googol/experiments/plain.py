"""Dataclasses as plain dictionaries, for YAML and JSON, and back, with every value checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def kind(choice: type) -> str:
    """The name of a choice on the command line and in files: that of its class in lower case, with hyphens.

    A class may say in ``called`` that it has another one.

    Example:
        >>> from googol.experiments.config import MLP, DiscretizedLogistic, JointVAE
        >>> [kind(choice) for choice in (MLP, DiscretizedLogistic, JointVAE)]
        ['mlp', 'discretized-logistic', 'joint-vae']
    """
    called: str | None = getattr(choice, "called", None)
    return called or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", choice.__name__).lower()


def kinds(hint: Any) -> dict[str, type]:
    """The choices of a union of dataclasses, or the only one, by name."""
    return {kind(choice): choice for choice in (get_args(hint) or (hint,))}


def to_plain(value: Any) -> Any:
    """A dataclass as a dictionary whose key ``kind`` names its class, tuples as lists; other values as they are.

    Example:
        >>> from googol.experiments.config import MLP
        >>> to_plain(MLP(hidden=(64, 32)))
        {'kind': 'mlp', 'hidden': [64, 32], 'activation': 'silu'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        options = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        return {"kind": kind(type(value)), **options}
    if isinstance(value, tuple):
        return [to_plain(entry) for entry in value]
    return value


def from_plain(hint: Any, value: Any, where: str = "config") -> Any:
    """The value of a type (a dataclass, a union of these, or a type of plain values) that `to_plain` wrote.

    Arguments:
        hint: The type that is expected.
        value: What was read.
        where: What it is, for messages.

    Raises:
        ValueError: A kind or a key is unknown, a key is missing, or a value is none of the type.

    Example:
        >>> from googol.experiments.config import Network
        >>> from_plain(Network, {"kind": "mlp", "hidden": [64, 32]})
        MLP(hidden=(64, 32), activation='silu')
        >>> from_plain(Network, {"kind": "mpl"}, "network")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: network: unknown kind 'mpl': expected one of 'conv', ...; did you mean 'mlp'?
    """
    origin, options = get_origin(hint), get_args(hint)
    if any(is_dataclass(option) for option in (hint, *options)):
        return _dataclass(kinds(hint), value, where)
    if origin is Literal and value in options:
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(from_plain(options[0], entry, f"{where}[{number}]") for number, entry in enumerate(value))
    if origin in (Union, UnionType) and any(_is(option, value) for option in options):
        return from_plain(next(option for option in options if _is(option, value)), value, where)
    if origin is None and _is(hint, value):
        return hint(value) if hint is float else value
    raise ValueError(f"{where} must be {_described(hint)}, got {value!r}")


def _is(hint: Any, value: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(value, list)
    if isinstance(value, bool):  # an int to Python, but not to people
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _described(hint: Any) -> str:
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, options))}"
    if origin is tuple:
        return f"a list of {_described(options[0])}"
    if options:
        return " or ".join(_described(option) for option in options)
    return "nothing" if hint is NoneType else f"{hint.__name__}"


def _dataclass(choices: dict[str, type], value: Any, where: str) -> Any:
    from googol.data import unknown

    if not isinstance(value, Mapping) or ("kind" not in value and len(choices) > 1):
        raise ValueError(f"{where} must have a kind ({', '.join(choices)}) and its options, got {value!r}")
    name = str(value.get("kind", next(iter(choices))))
    if name not in choices:
        raise ValueError(f"{where}: {unknown('kind', name, choices)}")
    made = choices[name]
    hints = get_type_hints(made)
    given = {key: entry for key, entry in value.items() if key != "kind"}
    known = {field.name: field for field in fields(made)}
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: {unknown(f'option of {name}', str(key), known)}")
    required = [name for name, field in known.items() if field.default is field.default_factory is MISSING]
    if needed := [name for name in required if name not in given]:
        raise ValueError(f"{where}: {name} needs {', '.join(needed)}")
    try:
        return made(**{key: from_plain(hints[key], entry, f"{where}.{key}") for key, entry in given.items()})
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error
