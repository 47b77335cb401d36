"""Syncs apps in one event loop, each with a client of its own. Knows no other worker and no Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from anyio import CapacityLimiter
from anyio.to_thread import current_default_thread_limiter, run_sync

from .. import Client, ConfigError, DpError, Settings
from ..tables import Outcome
from ._apps import App, Load, failed


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is given. It is pickled, so no secret is in it.

    *prepare*: makes the tables, or checks those that are there.
    """

    settings: Callable[[str], Settings] = field(repr=False)
    client: Callable[[Settings], Client] = field(repr=False)
    load: Load = field(repr=False)
    prepare: Callable[[], None] = field(repr=False)


#: Reads and merges of tables at once: each takes memory, and they have one core. One goes on while
#: the other waits for its disk or store.
TABLES_AT_ONCE = 2
#: Calls of ``settings`` at once, which may wait for a network.
SETTINGS_AT_ONCE = 32


class Worker:
    """Syncs any number of apps at once, each by a call of ``sync``."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._limiter = CapacityLimiter(SETTINGS_AT_ONCE)

    async def ready(self) -> None:
        """Make the tables, or check those that are there. Raises ConfigError and LoadFailed."""
        await run_sync(self._job.prepare)

    async def sync(self, app: App) -> list[Outcome]:
        """The outcome of each list of each account; a DpError is in them, a bug is raised."""
        outcomes: list[Outcome] = []
        current_default_thread_limiter().total_tokens = TABLES_AT_ONCE  # of this event loop
        try:
            settings = await run_sync(self._settings, app.app_id, limiter=self._limiter)
            async with self._job.client(settings) as client:
                async for outcome in self._job.load(client, app.accounts):
                    outcomes.append(outcome)  # noqa: PERF401  # those before an error stay
        except DpError as error:
            return failed(app, outcomes, error)
        return outcomes

    def _settings(self, app_id: str) -> Settings:
        """The settings of an app. Raises ConfigError for whatever the application's function does.

        The texts of exceptions that are not known may hold a secret, so they are not repeated.
        """
        try:
            found = cast("object", self._job.settings(app_id))
        except DpError:
            raise
        except Exception as error:
            problem = _shown(error)
        else:
            if not isinstance(found, Settings):
                problem = f"gave a {type(found).__name__}, not Settings"
            elif found.app_id != app_id:
                problem = "gave the settings of another app"
            else:
                return found
        raise ConfigError(f"settings({app_id!r}) {problem}")


def _shown(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"raised {kind}: {error.strerror}: {error.filename}"
    if isinstance(error, KeyError) and error.args:
        return f"raised {kind}: {error.args[0]!s:.80}"
    return f"raised {kind}; its text may hold a secret and is not shown"
