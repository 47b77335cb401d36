"""Rows and pages as types of pydantic and FastAPI: JSON in camelCase, times at +08:00, a schema."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest
from fastapi import FastAPI
from msgspec import Struct
from pydantic import BaseModel, TypeAdapter, ValidationError

from dp_async import Align, ConfigError, Message, Page, ReadStatus, Work, WorkStatus
from dp_async._models import Page as PlainPage
from dp_async._page.endpoints import MESSAGES, ListEndpoint
from dp_async._page.endpoints import WORKS as WORK_LIST
from tests.support.samples import vector

TIME = datetime(2023, 7, 13, 17, 15, 27)
SENT = "2023-07-13T17:15:27+08:00"


class Slim(Struct, rename="camel"):
    digital_person_works_id: int
    update_time: datetime | None = None


class Best(BaseModel):
    work: Work
    page: Page[Work]


def page_of(*rows: Any) -> Page[Any]:
    return Page(
        content=list(rows),
        number=0,
        size=20,
        total_elements=len(rows),
        total_pages=1,
        number_of_elements=len(rows),
        first=True,
        last=True,
        empty=not rows,
    )


@pytest.mark.parametrize("endpoint", [WORK_LIST, MESSAGES], ids=lambda endpoint: endpoint.name)
def test_a_documented_page_is_dumped_as_sent_but_for_offsets(
    endpoint: ListEndpoint[Struct, Struct],
) -> None:
    sent = json.loads(vector(endpoint.path.rpartition("/")[2]))["data"]
    page: Page[Any] = msgspec.convert(sent, PlainPage[endpoint.model])  # type: ignore[name-defined]
    adapter = TypeAdapter[Any](Page[endpoint.model])  # type: ignore[name-defined]
    dumped = json.loads(adapter.dump_json(page))
    for row in sent["content"]:
        for name in ("createTime", "updateTime"):
            row[name] = f"{row[name].replace(' ', 'T')}+08:00"
    for row, right in zip(dumped["content"], sent["content"], strict=True):
        assert {name: row[name] for name in right} == right
        assert {row[name] for name in row.keys() - right.keys()} <= {None}
    assert all(dumped[name] == sent[name] for name in dumped.keys() - {"content", "requestId"})
    assert adapter.validate_json(adapter.dump_json(page)) == page


VALUES: list[tuple[type[object], object, object]] = [
    (Work, Work(digital_person_works_id=1, create_time=TIME), {"createTime": SENT}),
    (Work, Work(digital_person_works_id=1, status=WorkStatus("NEW")), {"status": "NEW"}),
    (Work, Work(digital_person_works_id=1, fee={"a": [1, 2.5]}), {"fee": {"a": [1, 2.5]}}),
    (
        Work,
        Work(digital_person_works_id=1, update_time=datetime(2023, 1, 2, tzinfo=UTC)),
        {"updateTime": "2023-01-02T00:00:00Z"},
    ),
    (Message, Message(msg_id=1, read_status=ReadStatus.READ), {"readStatus": "READ"}),
    (
        Page[Slim],
        page_of(Slim(7, TIME)),
        {"content": [{"digitalPersonWorksId": 7, "updateTime": SENT}]},
    ),
    (Page[dict[str, object]], page_of({"any": [1]}), {"content": [{"any": [1]}]}),
]


@pytest.mark.parametrize(("kind", "value", "parts"), VALUES)
def test_a_value_survives_json(kind: type[object], value: object, parts: dict[str, object]) -> None:
    adapter = TypeAdapter[Any](kind)
    text = adapter.dump_json(adapter.validate_python(value))
    dumped = json.loads(text)
    assert {name: dumped[name] for name in parts} == parts
    assert adapter.validate_json(text) == value
    assert adapter.validate_python(value) is value


def test_a_model_holds_rows_and_pages() -> None:
    work = Work(digital_person_works_id=1, align=Align.VERTICAL)
    best = Best(work=work, page=page_of(work))
    assert Best.model_validate_json(best.model_dump_json()) == best
    assert Best.model_validate({"work": {"digitalPersonWorksId": 1, "later": 2}, "page": best.page})


def test_what_is_no_row_is_refused_with_its_path() -> None:
    with pytest.raises(ValidationError, match=r"content\.0\.digitalPersonWorksId"):
        TypeAdapter(Page[Work]).validate_python({"content": [{"name": "a"}]})
    with pytest.raises(ValidationError, match=r"content\.0"):
        TypeAdapter(Page[Work]).validate_python(page_of(Slim(1)))


def test_a_page_of_no_type_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"write Page\[Work\]"):
        TypeAdapter(cast("type[object]", Page))


NULL: dict[str, object] = {"type": "null"}
TIMES: dict[str, object] = {"anyOf": [{"type": "string", "format": "date-time"}, NULL]}
TEXT: dict[str, object] = {"anyOf": [{"type": "string"}, NULL]}
REF = "#/components/schemas/"
WORK_SCHEMA: dict[str, dict[str, object]] = {
    "createTime": TIMES,
    "updateTime": TIMES,
    "userId": {"anyOf": [{"type": "integer"}, NULL]},
    "digitalPersonWorksId": {"type": "integer"},
    "name": TEXT,
    "avatar": TEXT,
    "status": {"anyOf": [{"$ref": f"{REF}WorkStatus"}, NULL]},
    "align": {"anyOf": [{"$ref": f"{REF}Align"}, NULL]},
    "resolution": TEXT,
    "worksUrl": TEXT,
    "duration": {"anyOf": [{"type": "number"}, NULL]},
}


def test_the_schema_of_openapi_has_every_field_with_its_type() -> None:
    app = FastAPI()

    def works() -> Page[Work]:
        raise NotImplementedError

    def messages() -> list[Message]:
        raise NotImplementedError

    def slim() -> Page[Slim]:
        raise NotImplementedError

    app.get("/works")(works)
    app.get("/messages")(messages)
    app.get("/slim")(slim)
    document = app.openapi()
    response = document["paths"]["/works"]["get"]["responses"]["200"]
    assert response["content"]["application/json"]["schema"] == {"$ref": f"{REF}Page_Work_"}
    schemas = document["components"]["schemas"]
    page, work = schemas["Page_Work_"], schemas["Work"]
    assert page["title"] == "Page[Work]"
    assert page["properties"]["content"]["items"] == {"$ref": f"{REF}Work"}
    assert page["properties"]["totalElements"]["type"] == "integer"
    assert set(work["required"]) == set(work["properties"])  # all are in every answer
    for name, right in WORK_SCHEMA.items():
        found = {part: work["properties"][name].get(part) for part in right}
        assert found == right, name
    assert {"type": "object", "additionalProperties": True} in work["properties"]["fee"]["anyOf"]
    assert work["properties"].keys() == {*WORK_SCHEMA, "fee"}
    assert work["description"].startswith("One video of the account.")
    assert "\n\n" not in work["description"]
    status = schemas["WorkStatus"]
    assert (status["type"], status["examples"]) == ("string", [str(each) for each in WorkStatus])
    assert "enum" not in status
    assert set(schemas["Message"]["properties"]) == {
        field.encode_name for field in msgspec.structs.fields(Message)
    }
    assert "description" not in schemas["Slim"]  # it has no docstring of its own


def test_only_the_id_is_required_on_the_way_in() -> None:
    assert TypeAdapter(Work).json_schema()["required"] == ["digitalPersonWorksId"]
    assert "requestId" not in TypeAdapter(Page[Work]).json_schema()["required"]


def test_pydantic_is_imported_only_when_it_asks() -> None:
    code = """
import sys
from dp_async import Page, Work
Page[Work]
assert not [name for name in sys.modules if "pydantic" in name and "dp_async" not in name]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
