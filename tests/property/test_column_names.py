"""The columns of undocumented fields: one name for each field, which no database changes."""

from __future__ import annotations

import re

import pytest
from dlt.common.normalizers.naming import direct, duck_case, snake_case, sql_ci_v1, sql_cs_v1
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from dp_async import Message, Work
from dp_async.tables import column_name, schema

#: Any text, and texts of the few characters that the rule is about.
NAMES = st.text(max_size=80) | st.text("aZ_012z eé😀\0", max_size=30) | st.text("ab_Q", min_size=60)
CONVENTIONS = [
    module.NamingConvention(63) for module in (direct, duck_case, snake_case, sql_ci_v1, sql_cs_v1)
]


@given(st.lists(NAMES, max_size=40, unique=True))
@example(
    ["", " ", "\0", "_", "__", "a", "A", "_a", "aA", "a_a", "AA", "wire_2", "wire", "wire_2_a"]
)
@example(
    ["a_0", "a__0", "a0", "a_1e9z", "aé", "ae\u0301", "a_2a", "account", "_account", "Account"]
)
@example(["x" * 63, "x" * 64, "x" * 200, "X" * 32, "X" * 200, "é" * 200, "x" * 199 + "y"])
def test_no_two_fields_share_a_column(fields: list[str]) -> None:
    names = [column_name(field) for field in fields]
    assert len({name.lower() for name in names}) == len(names)


@given(NAMES)
@example("DltId")
@example("_dlt_id")
@example("x" * 41 + "_Q" + "x" * 40)
def test_no_database_and_no_rule_of_dlt_changes_a_column(field: str) -> None:
    name = column_name(field)
    assert re.fullmatch(r"[a-z](_?[a-z0-9])*", name)
    assert len(name.encode()) <= 63
    assert {convention.normalize_identifier(name) for convention in CONVENTIONS} == {name}


@pytest.mark.parametrize("model", [Work, Message])
def test_an_undocumented_field_never_gets_a_documented_column(
    model: type[Work] | type[Message],
) -> None:
    # No two fields share a name, so none shares one with a documented field under the same rule.
    assert [column_name(field.encode_name) for field in structs.fields(model)] == [
        field.name for field in structs.fields(model)
    ]
    own = set(schema(model).names) - {field.name for field in structs.fields(model)}
    assert own == {"account", "gone_at"}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("viewCount", "view_count"),
        ("later", "later"),
        ("view_count", "view_0count"),
        ("ViewCount", "wire_2_view_count"),
        ("账号", "wire_2_18d26z_153f7z"),
        ("a.b", "a_12ez" + "b"),
        ("2nd", "wire_22nd"),
        ("", "wire_2"),
        ("account", "wire_2account"),
        ("goneAt", "wire_2gone_at"),
        ("xmin", "wire_2xmin"),
        ("x" * 63, "x" * 63),
        ("x" * 64, "x" * 41 + "_3121f60efb9a7a87d1f05"),
    ],
)
def test_a_name_stays_what_it_is(field: str, name: str) -> None:
    """Tables hold these names: another rule must refuse the tables that were made by this one."""
    assert column_name(field) == name
