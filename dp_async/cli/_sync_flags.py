"""The flags of ``dp-async sync``, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from dp_async import ConfigError, CrawlOptions

from ._flags import OPTIONS, Concurrency, Debug, OnBadItem, PageSize, described, switch
from ._server import ServerFlags, required

if TYPE_CHECKING:
    from ._apps import Fleet

SYNC = Group("Sync", sort_key=2)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFlags:
    """The destination of a sync, what it loads and how often."""

    to: Annotated[
        str | None,
        described(
            SYNC,
            "duckdb:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE (set the variable instead: "
            "other users can see flags), delta:///FOLDER or s3://BUCKET/PREFIX for Delta tables, "
            "or a folder for Parquet files",
            "DP_SYNC_TO",
        ),
    ] = None
    dataset: Annotated[str, described(SYNC, "database schema that holds the tables")] = "dp_data"
    accounts: Annotated[
        Path | None, described(SYNC, "file of sub-accounts, one per line, instead of --account")
    ] = None
    apps: Annotated[
        Path | None,
        described(
            SYNC,
            "TOML file of [[app]] tables: app_id; accounts or accounts_file; secret_file or "
            "secret_env; base_url, rate, auth_template, timestamp_unit, else those of the flags. "
            "Instead of --app-id, --account and the secret; into Delta tables",
        ),
    ] = None
    ray: Annotated[
        bool | str,
        Parameter(
            group=SYNC,
            help="sync --apps on all cores; with an ADDRESS, on that cluster of Ray (auto: the one "
            "of this machine)",
            show_default=False,
        ),
    ] = False
    at_once: Annotated[
        int,
        Parameter(group=SYNC, help="accounts synced at once", validator=Number(gte=1, lte=1000)),
    ] = 4
    full: Annotated[bool, switch(SYNC, "load all rows again, not only what changed")] = False
    reconcile: Annotated[
        bool,
        switch(SYNC, "as --full, and set gone_at of rows that are proven to be gone"),
    ] = False
    watch: Annotated[bool, switch(SYNC, "keep loading changes until Ctrl-C")] = False
    every: Annotated[
        float,
        Parameter(
            group=SYNC,
            help="seconds between runs of --watch",
            validator=Number(gte=1, lte=86_400),
        ),
    ] = 30.0
    page_size: PageSize = OPTIONS.page_size
    concurrency: Concurrency = OPTIONS.concurrency
    on_bad_item: OnBadItem = OPTIONS.on_bad_item
    demo: Annotated[
        bool, switch(SYNC, "sync a simulated server three times while it changes; needs no set-up")
    ] = False
    debug: Debug = False

    def options(self) -> CrawlOptions:
        """Options of these flags. Raises ConfigError."""
        return CrawlOptions(
            page_size=self.page_size, concurrency=self.concurrency, on_bad_item=self.on_bad_item
        )

    def fleet(self, server: ServerFlags, apps: Path) -> Fleet:
        """The apps of a file, and where they go. Raises ConfigError."""
        others = {
            "--account (DP_ACCOUNT)": server.account,
            "--secret-file": server.secret_file,
            "--accounts": self.accounts,
            "--watch": self.watch,
            "--demo": self.demo,
        }
        for name, given in others.items():
            if given:
                raise ConfigError(f"--apps and {name} exclude each other: use one of them")
        to = required(self.to, "DP_SYNC_TO", "--to")
        if to.partition("://")[0] not in ("delta", "s3"):
            raise ConfigError("--to: --apps needs delta:///FOLDER or s3://BUCKET/PREFIX")
        try:
            from ._app_file import AppFile
            from ._apps import Fleet
            from ._lake import lake_of
        except ImportError:
            raise ConfigError(
                "--apps needs deltalake and pyarrow, an extra: pip install 'dp_async[cli,ray]', "
                "or 'dp_async[cli,delta]' without --ray"
            ) from None
        if self.ray is not False and find_spec("ray") is None:
            raise ConfigError("--ray needs ray, an extra: pip install 'dp_async[cli,ray]'")
        return Fleet(
            file=AppFile(apps, server.defaults()),
            lake=lake_of(to, self.dataset),
            address=None if self.ray is False else "" if self.ray is True else self.ray,
            full=self.full,
            reconcile=self.reconcile,
            at_once=self.at_once,
            options=self.options(),
        )


NO_SYNC_FLAGS = SyncFlags()
