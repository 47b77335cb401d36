"""The apps of a sync, checked, and their outcomes. It sends nothing and knows no worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from .. import Client, ConfigError, CrawlReport, DpError, Settings
from ..tables import ListName, Outcome

#: Loads both lists of some accounts of a client's app.
Load: TypeAlias = Callable[[Client, Sequence[str] | None], AsyncGenerator[Outcome, None]]

LISTS: tuple[ListName, ...] = ("works", "messages")


class RayFailed(DpError):
    """Ray could not be started or reached, or it lost the worker of an app too often."""


@dataclass(frozen=True, slots=True)
class App:
    """An app by its id, and its sub-accounts; *accounts* None: the one of its settings."""

    app_id: str
    accounts: Sequence[str] | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """How many accounts it has."""
        return 1 if self.accounts is None else len(self.accounts)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an app: the outcome of each list and account, or the exception of a bug."""

    app: App
    outcomes: Sequence[Outcome] = ()
    bug: Exception | None = None


def nobody(app_id: str) -> Client:
    """A client that checks what it is given, for an app whose settings are not known here."""
    return Client(Settings(base_url="https://unset", app_id=app_id, app_secret="unset"))


def checked(apps: Iterable[App], load: Load) -> list[App]:
    """*apps*, with their accounts as tuples. Raises ConfigError, also for what *load* refuses."""
    given = cast("object", apps)  # whatever its type says
    if isinstance(given, App) or not isinstance(given, Iterable):
        raise ConfigError("apps must be a list of App")
    found: dict[str, App] = {}
    for place, app in enumerate(cast("Iterable[object]", given)):
        if not isinstance(app, App):
            raise ConfigError(f"apps[{place}] must be an App, not {type(app).__name__}")
        if app.app_id in found:
            raise ConfigError(f"apps[{place}]: the app {app.app_id} is given twice")
        try:
            load(nobody(app.app_id), app.accounts)
        except ConfigError as error:
            problem = str(error)
        else:
            accounts = None if app.accounts is None else tuple(dict.fromkeys(app.accounts))
            found[app.app_id] = App(app.app_id, accounts)
            continue
        raise ConfigError(f"apps[{place}], the app {app.app_id!r:.80}: {problem}")
    if not found:
        raise ConfigError("apps is empty: give at least one App")
    return [*found.values()]


def failed(app: App, outcomes: Sequence[Outcome], error: DpError) -> list[Outcome]:
    """*outcomes*, and for each list of each account that has none, one with *error*."""
    there = {(one.resource, one.account) for one in outcomes}
    return [
        *outcomes,
        *(
            Outcome(
                resource=name,
                app_id=app.app_id,
                account=account,
                new=0,
                updated=0,
                gone=0,
                report=NOTHING,
                error=error,
            )
            for name in LISTS
            for account in app.accounts or ("",)
            if (name, account) not in there
        ),
    ]


#: The report of a crawl that was not made.
NOTHING = CrawlReport(
    complete=None,
    reason="nothing was requested",
    margin=None,
    items=0,
    pages=0,
    requests=0,
    retries=0,
    passes=0,
    duplicates=0,
    bad_items=0,
    total_elements=0,
    drifted=False,
    max_in_flight=0,
    elapsed=0.0,
)


def outcomes(results: Generator[Result, None, None]) -> Generator[Outcome, None, None]:
    """The outcomes of *results*, and at the end an ExceptionGroup of the bugs."""
    bugs: list[Exception] = []
    try:
        for result in results:
            yield from result.outcomes
            if result.bug is not None:
                result.bug.add_note(f"while the app {result.app.app_id} was synced")
                bugs.append(result.bug)
    finally:
        results.close()
    if bugs:
        raise ExceptionGroup("some apps were not synced to their end", bugs)
