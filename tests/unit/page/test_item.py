"""What ``typed`` is given: taken if rows can be decoded as it, else refused with the fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import pytest
from msgspec import UNSET, Raw, Struct, UnsetType, defstruct, field
from pydantic import BaseModel

from dp_async import ConfigError, Message, Work
from dp_async._page.item import check_item

T = TypeVar("T")


class Plain:
    """No Struct: msgspec would take it as a custom type."""


class Model(BaseModel):
    name: str


@dataclass
class Data:
    name: str


class Typed(TypedDict):
    name: str


class Named(NamedTuple):
    name: str


class Dict(dict[str, object]):
    pass


class Camel(Struct, rename="camel"):
    works_url: str | None = None
    user_id: int | None = None
    anything: object = None
    each: Iterable[int] = ()
    more: list[Camel] | None = None
    when: datetime | UnsetType = UNSET


class Renamed(Struct):
    url: str | None = field(default=None, name="worksUrl")
    user: int | None = field(default=None, name="userId")
    name: str | None = None


class Own(Struct):
    some_field: int | None = None
    msg_id: int | None = None  # messages have it, works do not


class Of(Struct, Generic[T]):
    name: T


class Array(Struct, array_like=True):
    name: str


class Undefined(Struct):
    name: Nowhere  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


class Holds(Struct):
    name: list[Plain | None] | None = None


class Deep(Struct):
    fee: dict[str, tuple[Holds, ...]] | None = None


GOOD: list[Any] = [
    *[Work, Message, Camel, Renamed, Own, Of[int], Of, Struct],
    *[dict, dict[str, object], dict[str, Any], dict[str, Decimal], Raw],
]

#: No type for rows, and what its error says.
BAD: list[tuple[Any, str]] = [
    *[(kind, f"not {kind.__name__}: use typed(dict)") for kind in (Model, Data, Typed, Named)],
    *[(kind, f"not {kind.__name__}: use typed(dict)") for kind in (Plain, Dict, int, list, object)],
    (None, "not None: use typed(dict)"),
    (Camel | None, "use typed(dict)"),
    (7, "7 cannot be decoded: Type '7' is not supported"),
    ("Work", "'Work' cannot be decoded"),
    (Undefined, "Undefined cannot be decoded: name 'Nowhere' is not defined"),
    (dict[int, object], "the keys of a dict must be str"),
]


@pytest.mark.parametrize("item", GOOD)
def test_a_type_that_rows_decode_as_is_taken(item: Any) -> None:
    check_item(item, Work)


@pytest.mark.parametrize(("item", "text"), BAD)
def test_any_other_type_is_refused(item: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_item(item, Work)
    assert str(caught.value).startswith("typed() needs a Struct, dict or msgspec.Raw")
    assert text in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("item", [Holds, Deep, dict[str, Plain]])
def test_a_class_that_json_does_not_give_is_refused_at_any_depth(item: Any) -> None:
    with pytest.raises(ConfigError, match=r"^typed\(\w+\) holds a Plain, .* or msgspec.Raw"):
        check_item(item, Work)


def test_a_struct_that_forbids_fields_has_all_that_are_sent() -> None:
    few = defstruct("Few", [("name", str)], forbid_unknown_fields=True)
    with pytest.raises(ConfigError, match=r"^typed.Few. .* 'createTime', .* drop forbid_unknown"):
        check_item(few, Work)
    check_item(defstruct("All", [], bases=(Work,), forbid_unknown_fields=True, frozen=True), Work)


def test_an_array_is_no_row() -> None:
    with pytest.raises(ConfigError, match=r"^typed\(Array\): .* drop array_like=True"):
        check_item(Array, Work)


@pytest.mark.parametrize(
    ("model", "name", "rename", "sent"),
    [
        (Work, "works_url", None, "worksUrl"),
        (Work, "digital_person_works_id", None, "digitalPersonWorksId"),
        (Work, "worksURL", None, "worksUrl"),
        (Work, "works_url", "pascal", "worksUrl"),
        (Work, "works_url", "kebab", "worksUrl"),
        (Work, "name", "upper", "name"),
        (Message, "msg_id", None, "msgId"),
        (Message, "read_status", None, "readStatus"),
        (Message, "create_time", None, "createTime"),
    ],
)
def test_a_field_that_the_server_spells_otherwise_is_refused(
    model: type[Struct], name: str, rename: Any, sent: str
) -> None:
    kinds = [defstruct("Row", [(name, object, None)], rename=rename)]
    kinds.append(defstruct("Row", [(name, object)], rename=rename))  # required: it would fail
    for item in kinds:
        with pytest.raises(ConfigError) as caught:
            check_item(item, model)
        text = str(caught.value)
        assert text.startswith(f"typed(Row): the field {name} is read from ")
        assert f'the server sends {sent!r}: declare class Row(Struct, rename="camel")' in text
        assert text.endswith(f"{name} = msgspec.field(name={sent!r})")
