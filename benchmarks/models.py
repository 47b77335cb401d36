"""The documented answer as pydantic models, written the usual way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Work(Camel):
    digital_person_works_id: int
    create_time: datetime | None = None
    update_time: datetime | None = None
    user_id: int | None = None
    name: str | None = None
    avatar: str | None = None
    status: str | None = None
    align: str | None = None
    resolution: str | None = None
    works_url: str | None = None
    fee: Any = None
    duration: float | None = None


class Page(Camel):
    content: list[Work]
    number: int
    size: int
    total_elements: int
    total_pages: int
    number_of_elements: int
    first: bool
    last: bool
    empty: bool


class Answer(Camel):
    code: int
    data: Page
    request_id: str | None = None
    result_msg: str | None = None
