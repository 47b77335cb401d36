"""The flags that commands share: their help, and the options made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from dp_async import ConfigError, CrawlOptions

from ._formats import FormatName

if TYPE_CHECKING:
    from ._export import Target
    from ._watch import Feed

OPTIONS = CrawlOptions()
CRAWL = Group("Crawl", sort_key=2)
OUTPUT = Group("Output", sort_key=3)


def described(group: Group, text: str, env: str | None = None) -> Parameter:
    return Parameter(group=group, help=text, env_var=env, env_var_split=_unless_empty)


def _unless_empty(kind: object, value: str, *, delimiter: str | None = None) -> list[str]:
    """An empty variable counts as not set: ``VARIABLE=${VARIABLE:-}`` in a compose file sets it."""
    return [value] if value else []


def switch(group: Group, text: str) -> Parameter:
    return Parameter(group=group, help=text, show_default=False)


PageSize: TypeAlias = Annotated[int, described(CRAWL, "rows per page; the server may cap it")]
Concurrency: TypeAlias = Annotated[
    int | Literal["auto"],
    described(CRAWL, "pages fetched at once; auto: adapts to the server"),
]
OnBadItem: TypeAlias = Annotated[
    Literal["raise", "keep"],
    described(
        CRAWL,
        "a row that cannot be read: raise ends its list with an error; keep leaves it out, names "
        "it, and exits with 4",
    ),
]
Since: TypeAlias = Annotated[
    Path | None,
    described(
        CRAWL,
        "only rows that are new or were updated since the last run: the file keeps how far that "
        "was, and is replaced once all rows are written; without the file, all rows",
    ),
]
Debug: TypeAlias = Annotated[bool, switch(OUTPUT, "show the traceback of an error")]
Works: TypeAlias = Annotated[int, Parameter(help="simulated works", validator=Number(gte=0))]
Messages: TypeAlias = Annotated[int, Parameter(help="simulated messages", validator=Number(gte=0))]
Latency: TypeAlias = Annotated[
    float, Parameter(help="median latency of an answer, in ms", validator=Number(gte=0, lte=60_000))
]
Port: TypeAlias = Annotated[
    int,
    Parameter(
        help="port to listen on, on this machine only; 0: any free port",
        validator=Number(gte=0, lte=65_535),
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ListFlags:
    """How a list is crawled and written."""

    since: Since = None
    limit: Annotated[int | None, described(CRAWL, "stop after this many rows")] = OPTIONS.limit
    page_size: PageSize = OPTIONS.page_size
    concurrency: Concurrency = OPTIONS.concurrency
    overlap: Annotated[
        int | Literal["auto"],
        described(
            CRAWL,
            "rows that a page shares with the one before, to link the pages of a list that "
            "changes; auto: once it is seen to change",
        ),
    ] = OPTIONS.overlap
    no_verify: Annotated[
        bool, switch(CRAWL, "skip the proof of completeness and allow duplicates; saves requests")
    ] = not OPTIONS.verify
    on_bad_item: OnBadItem = OPTIONS.on_bad_item
    strict: Annotated[
        bool,
        switch(
            CRAWL,
            "exit with 3 and leave --output unchanged if the crawl is known to be incomplete",
        ),
    ] = OPTIONS.strict
    format: Annotated[
        FormatName | None,
        described(
            OUTPUT,
            "default: by the ending of --output (.csv, .ndjson, .jsonl, .parquet), else table on a "
            "terminal and ndjson elsewhere. ndjson keeps every field as sent, the others the "
            "documented fields",
        ),
    ] = None
    output: Annotated[
        Path | None, described(OUTPUT, "write to this file; it is replaced once all rows are there")
    ] = None
    verbose: Annotated[
        bool, switch(OUTPUT, "print a summary at the end even if stderr is no terminal")
    ] = False
    debug: Debug = False

    def options(self) -> CrawlOptions:
        """Options of these flags. Raises ConfigError."""
        return CrawlOptions(
            page_size=self.page_size,
            concurrency=self.concurrency,
            limit=self.limit,
            overlap=self.overlap,
            verify=not self.no_verify,
            strict=self.strict,
            on_bad_item=self.on_bad_item,
        )

    def target(self) -> Target:
        """Where the rows go and in which format. Raises ConfigError."""
        from ._export import Target

        for flag, file in (("--output", self.output), ("--since", self.since)):
            if file is not None and not file.name:
                raise ConfigError(f"{flag}: it must name a file")
        if self.since is not None and self.no_verify:
            raise ConfigError("--since and --no-verify exclude each other: use one of them")
        return Target(
            format=self.format,
            output=self.output,
            since=self.since,
            limit=self.limit,
            verbose=self.verbose,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFlags:
    """How a list is watched and written."""

    every: Annotated[
        float,
        Parameter(
            group=CRAWL, help="seconds between two polls", validator=Number(gte=1, lte=86_400)
        ),
    ] = 5.0
    since: Annotated[
        Path | None,
        described(CRAWL, "go on from this file, which keeps how far the rows are written"),
    ] = None
    on_bad_item: Annotated[
        Literal["raise", "keep"],
        described(CRAWL, "a row that cannot be read: raise ends the feed; keep names it"),
    ] = OPTIONS.on_bad_item
    format: Annotated[
        Literal["table", "ndjson", "csv"] | None,
        described(OUTPUT, "default: table on a terminal and ndjson elsewhere"),
    ] = None
    debug: Debug = False

    def feed(self) -> Feed:
        """How the list is watched. Raises ConfigError."""
        from ._watch import Feed

        if self.since is not None and not self.since.name:
            raise ConfigError("--since: it must name a file")
        return Feed(
            every=self.every,
            since=self.since,
            format=self.format,
            keep_bad=self.on_bad_item == "keep",
        )


NO_LIST_FLAGS = ListFlags()
NO_FEED_FLAGS = FeedFlags()
