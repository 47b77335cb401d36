"""Pydantic's schemas of Structs and enums, so that FastAPI takes them as response types.

Imports pydantic_core only when pydantic asks, and knows no row: the times of rows are converted by
the functions it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, get_args, get_origin

from msgspec import NODEFAULT, Struct, structs

from ._errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

#: Converts a time, or None.
Convert: TypeAlias = Callable[[datetime | None], datetime | None]


class Handler(Protocol):
    """What pydantic passes in: makes the schema of another type."""

    def generate_schema(self, source_type: Any, /) -> Any: ...


def struct_schema(
    source: object, handler: Handler, *, time_dumped: Convert, time_loaded: Convert
) -> Mapping[str, object]:
    """The schema of the Struct *source*: an object with its fields, by their names in JSON.

    An instance is taken as it is, after a look at the fields that are generic; an object is checked
    by pydantic. Times pass through *time_dumped* on their way out, through *time_loaded* on their
    way in. Raises ConfigError for a generic type without its parameter.
    """
    from pydantic_core import core_schema

    kind = cast("type[Struct]", get_origin(source) or source)
    generic = bool(get_args(source))
    if getattr(kind, "__parameters__", ()) and not generic:
        raise ConfigError(
            f"{kind.__name__} needs the type of its items as a response type or a field: "
            f"write {kind.__name__}[Work]"
        )
    fields = structs.fields(cast("type[Struct]", source))

    def typed(annotation: object) -> CoreSchema:
        if get_origin(annotation) is list:
            return core_schema.list_schema(typed(get_args(annotation)[0]))
        unknown = not hasattr(annotation, "__get_pydantic_core_schema__")
        if unknown and isinstance(annotation, type) and issubclass(annotation, Struct):
            made = struct_schema(
                annotation, handler, time_dumped=time_dumped, time_loaded=time_loaded
            )
            return cast("CoreSchema", made)
        return cast("CoreSchema", handler.generate_schema(annotation))

    names = [(field.name, field.encode_name) for field in fields]
    times = [field.encode_name for field in fields if _holds_time(field.type)]

    def dump(value: Struct) -> dict[str, Any]:
        found: dict[str, Any] = {encoded: getattr(value, name) for name, encoded in names}
        for name in times:
            found[name] = time_dumped(found[name])
        return found

    def load(value: object, check: Callable[[object], dict[str, Any]]) -> Struct:
        if isinstance(value, kind):
            if generic:
                check(dump(value))
            return value
        checked = check(value)
        for name in times:
            if name in checked:
                checked[name] = time_loaded(checked[name])
        return kind(**{name: checked[encoded] for name, encoded in names if encoded in checked})

    def members(*, sent: bool) -> CoreSchema:
        return core_schema.typed_dict_schema(
            {
                field.encode_name: core_schema.typed_dict_field(
                    typed(field.type), required=sent or _is_required(field)
                )
                for field in fields
            }
        )

    parts = [getattr(part, "__name__", str(part)) for part in get_args(source)]
    title = f"{kind.__name__}[{', '.join(parts)}]" if parts else kind.__name__
    return core_schema.no_info_wrap_validator_function(
        load,
        members(sent=False),
        ref=f"{kind.__module__}.{title}:{hash(source)}",
        serialization=core_schema.plain_serializer_function_ser_schema(
            dump, return_schema=members(sent=True)
        ),
        metadata=_described(title, kind),
    )


def _holds_time(annotation: object) -> bool:
    return datetime in (annotation, *get_args(annotation))


def _is_required(field: structs.FieldInfo) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def enum_schema(kind: type[Enum]) -> Mapping[str, object]:
    """The schema of the open enum *kind*: any text, with the known ones as examples."""
    from pydantic_core import core_schema

    known = [member.value for member in kind]
    return core_schema.no_info_after_validator_function(
        kind,
        core_schema.str_schema(),
        ref=f"{kind.__module__}.{kind.__name__}:{id(kind)}",
        metadata=_described(kind.__name__, kind, {"examples": known, "x-extensible-enum": known}),
    )


def _described(
    title: str, kind: type[object], more: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Metadata that give the JSON schema its *title*, and the first paragraph of a docstring.

    The other paragraphs speak of attributes, whose names are not those in JSON.
    """
    updates: dict[str, object] = {"title": title, **(more or {})}
    if kind.__doc__:
        updates["description"] = cleandoc(kind.__doc__).partition("\n\n")[0]
    return {"pydantic_js_updates": updates}
