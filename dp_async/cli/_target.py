"""Where a sync goes, as ``--to`` names it: which kind of destination, and what each must do.

Knows no destination itself: the libraries of one are imported when it is chosen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dp_async import ConfigError, CrawlOptions, CrawlReport, DpError, Settings

# Before pyarrow is imported: its own allocator keeps freed memory to itself, tens of MB.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

if TYPE_CHECKING:
    from dp_async.tables import Outcome

LAKES = ("delta", "s3")
DATABASES = ("duckdb", "postgresql", "postgres")
HOW = (
    "duckdb:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, delta:///FOLDER, "
    "s3://BUCKET/PREFIX, or a folder for Parquet files"
)


class LoadFailed(DpError):
    """The destination could not be reached, or refused the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a sync loads; *accounts*: None for the one of *settings*."""

    settings: Settings
    accounts: Sequence[str] | None = None
    full: bool = False
    reconcile: bool = False
    at_once: int = 4
    options: CrawlOptions = field(default_factory=CrawlOptions)


class Target(Protocol):
    """A destination."""

    def load(
        self,
        scope: Scope,
        progress: Callable[[str, str, CrawlReport], object],
        done: Callable[[Outcome], object],
    ) -> list[Outcome]:
        """Sync once: the outcome of each list of each account, given to *done* as it comes.

        *progress*: called after each page with the list and the account. Raises DpError.
        """
        ...


def target_of(to: str, dataset: str) -> Target:
    """The destination that *to* names. Raises ConfigError; opens and creates nothing."""
    scheme, separator, _ = to.partition("://")
    if not separator and (not to.strip() or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", to)):
        raise ConfigError(f"--to: it must be {HOW}")
    if separator and scheme not in (*LAKES, *DATABASES):
        raise ConfigError(f"--to: {scheme[:20]}:// is not supported; use {HOW}")
    return _lake(to, dataset) if separator and scheme in LAKES else _database(to, dataset)


def _lake(to: str, dataset: str) -> Target:
    try:
        from ._lake import lake_of
    except ImportError:
        raise ConfigError(
            "sync into Delta tables needs deltalake and pyarrow, an extra: "
            "pip install 'dp_async[cli,delta]'"
        ) from None
    return lake_of(to, dataset)


def _database(to: str, dataset: str) -> Target:
    try:
        from ._database import database_of
    except ImportError:
        raise ConfigError(
            "sync needs dlt, pyarrow and duckdb, an extra: pip install 'dp_async[sync]'"
        ) from None
    return database_of(to, dataset)
