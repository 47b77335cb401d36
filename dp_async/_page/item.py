"""Checks the item type that ``typed`` is given, before anything is requested.

Pure. msgspec takes any class as a custom type and fails only when it decodes, with an error that
blames the answer. A field that the server spells otherwise would be its default in every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from msgspec import Raw, Struct, inspect, structs

from .._checks import shown
from .._errors import ConfigError

_NEEDS = "typed() needs a Struct, dict or msgspec.Raw"
_FROM_JSON = (dict, list, str, int, float, type(None))


def check_item(item: object, model: type[Struct]) -> None:
    """Raise ConfigError, naming the fix, unless rows like those of *model* decode as *item*."""
    if item is Raw:
        return  # a sync asks for it for each of thousands of accounts
    name = getattr(item, "__name__", None) or shown(item)
    try:
        info = inspect.type_info(item)
    except (TypeError, NameError) as error:  # NameError: an annotation that is not defined
        problem = f"{_NEEDS}, and {name} cannot be decoded: {error}"
    else:
        _check(name, info, model)
        return
    raise ConfigError(problem)


def _check(name: str, info: inspect.Type, model: type[Struct]) -> None:
    if isinstance(info, inspect.StructType):
        _check_names(name, info, model)
    elif isinstance(info, inspect.DictType):
        if not isinstance(info.key_type, inspect.AnyType | inspect.StrType):
            raise ConfigError(f"{_NEEDS}: the keys of a dict must be str")
    else:
        raise ConfigError(f"{_NEEDS}, not {name}: use typed(dict) and convert its items yourself")
    for kind in _undecodable(info, set()):
        raise ConfigError(
            f"typed({name}) holds a {kind.__name__}, which cannot be decoded from JSON: declare a "
            "Struct or a plain type in its place, or msgspec.Raw and convert it yourself"
        )


def _check_names(name: str, info: inspect.StructType, model: type[Struct]) -> None:
    """Raise ConfigError for a field that no row can have."""
    if info.array_like:
        raise ConfigError(f"typed({name}): rows are objects, not arrays: drop array_like=True")
    declared = {field.encode_name for field in info.fields}
    missing = [f.encode_name for f in structs.fields(model) if f.encode_name not in declared]
    if info.forbid_unknown_fields and missing:
        raise ConfigError(
            f"typed({name}) forbids unknown fields and has no {missing[0]!r}, which the server "
            "sends: drop forbid_unknown_fields=True"
        )
    sent = {_folded(field.encode_name): field.encode_name for field in structs.fields(model)}
    for field in info.fields:
        right = sent.get(_folded(field.encode_name), field.encode_name)
        if right != field.encode_name:
            raise ConfigError(
                f"typed({name}): the field {field.name} is read from {field.encode_name!r}, but "
                f'the server sends {right!r}: declare class {name}(Struct, rename="camel"), or '
                f"{field.name} = msgspec.field(name={right!r})"
            )


def _folded(name: str) -> str:
    """*name* without what distinguishes snake, kebab, camel and Pascal case."""
    return name.replace("_", "").replace("-", "").lower()


def _undecodable(part: object, seen: set[int]) -> Iterator[type[object]]:
    """The classes in *part* that no JSON value is an instance of, nor decoded as."""
    if isinstance(part, inspect.CustomType):
        if not any(issubclass(kind, part.cls) for kind in _FROM_JSON):
            yield part.cls
    elif isinstance(part, tuple):
        for each in cast("tuple[object, ...]", part):
            yield from _undecodable(each, seen)
    elif isinstance(part, inspect.Type | inspect.Field) and id(part) not in seen:
        seen.add(id(part))  # a Struct may hold itself
        for field in structs.fields(part):
            yield from _undecodable(getattr(part, field.name), seen)
