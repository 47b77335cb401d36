"""Delta tables as the destination of a sync, in a folder or on S3. Needs the extra ``delta``.

Credentials come from the environment alone, and are in no text.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from dp_async import Client, ConfigError, CrawlReport

from ._run import run_async
from ._sync_flags import NO_SYNC_FLAGS
from ._target import LoadFailed, Scope  # first: it configures pyarrow

# Before deltalake is imported: its own log lines would stand beside the one line of an error.
os.environ.setdefault("RUST_LOG", "off")

from dp_async import delta  # isort: skip
from dp_async.tables import Outcome  # isort: skip


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables under *uri*."""

    uri: str

    def load(
        self,
        scope: Scope,
        progress: Callable[[str, str, CrawlReport], object],
        done: Callable[[Outcome], object],
    ) -> list[Outcome]:
        """As ``Target.load``. A signal cancels it; a commit that is being made may end it late."""
        try:
            return run_async(self._loaded(scope, progress, done))
        except delta.LoadFailed as error:
            problem = str(error)
        raise LoadFailed(f"--to: {problem}")

    async def _loaded(
        self,
        scope: Scope,
        progress: Callable[[str, str, CrawlReport], object],
        done: Callable[[Outcome], object],
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with Client(scope.settings) as client:
            try:
                found = delta.sync(
                    client,
                    scope.accounts,
                    self.uri,
                    full=scope.full,
                    reconcile=scope.reconcile,
                    options=scope.options,
                    at_once=scope.at_once,
                    progress=progress,
                )
            except ConfigError as error:  # the command's own checks leave only those of the place
                raise ConfigError(str(error).replace("uri", "--to", 1)) from None
            async with aclosing(found):
                async for outcome in found:
                    outcomes.append(outcome)
                    done(outcome)
        return outcomes


def lake_of(to: str, dataset: str) -> Lake:
    """The Delta tables that *to* names. Raises ConfigError; opens and creates nothing."""
    if dataset != NO_SYNC_FLAGS.dataset:
        raise ConfigError("--dataset: Delta tables are in no dataset; name another folder by --to")
    scheme, _, location = to.partition("://")
    if scheme == "s3":
        return Lake(to)
    if not location.startswith("/") or not location.strip("/ "):
        raise ConfigError("--to: Delta tables are delta:///FOLDER, or delta:////FOLDER/FOLDER")
    return Lake(str(Path(location[1:])))
