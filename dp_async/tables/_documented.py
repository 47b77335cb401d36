"""What a model documents: made once for each model, as a reader of each account needs it."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar, cast

import msgspec
from msgspec import Struct, structs

S = TypeVar("S", bound=Struct)


@lru_cache(maxsize=64)
def strict(model: type[S]) -> type[S]:
    """*model* as a class that refuses undocumented fields."""
    made = msgspec.defstruct(
        model.__name__, (), bases=(model,), frozen=True, gc=False, forbid_unknown_fields=True
    )
    return cast("type[S]", made)


@lru_cache(maxsize=64)
def key(model: type[Struct]) -> str:
    """The attribute of the id, the only required field."""
    return next(field.name for field in structs.fields(model) if field.required)


@lru_cache(maxsize=64)
def wire_names(model: type[Struct]) -> tuple[frozenset[str], str]:
    """The names of the documented fields on the wire, and that of the id."""
    fields = structs.fields(model)
    return (
        frozenset(field.encode_name for field in fields),
        next(field.encode_name for field in fields if field.required),
    )
