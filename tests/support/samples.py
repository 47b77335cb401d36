"""Samples for unit tests: a request, settings, documented answers, a scripted ``Send``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct, structs

from dp_async import Request, Settings
from dp_async._models import Key
from dp_async._page import endpoints
from dp_async._page.endpoints import ListEndpoint

R = TypeVar("R")

REQUEST = Request(endpoint="work_list", method="GET", target="/path?pageNum=1")

SECRET = "open-sesame"

#: Every list of the API.
ENDPOINTS: list[ListEndpoint[Struct, Struct]] = [
    value for value in vars(endpoints).values() if isinstance(value, ListEndpoint)
]

VECTORS = Path(__file__).parent.parent / "vectors"


def settings(**changes: Any) -> Settings:
    """Valid settings with *changes*, which may be invalid and of any type."""
    given: dict[str, Any] = {"base_url": "https://host", "app_id": "app", "app_secret": SECRET}
    return Settings(**{**given, **changes})


def vector(name: str) -> bytes:
    """The body of a documented answer."""
    return (VECTORS / f"{name}.json").read_bytes()


def wire_id(key: type[Key]) -> str:
    """The name on the wire of the id that *key* decodes."""
    return next(field.encode_name for field in structs.fields(key) if field.name == "id")


class Script(Generic[R]):
    """A ``Send`` or ``Call`` that returns or raises *outcomes* in order and records *requests*."""

    def __init__(self, *outcomes: R | BaseException) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[Request] = []

    async def __call__(self, request: Request, /) -> R:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome
