"""Only what changed: ``listing.since(watermark)`` once, ``listing.watch(interval)`` as a live feed.

Text alone, no code.

## Once: since

The second run need not read a million rows to find ten new ones. ``since(watermark)`` is a crawl
of the rows that came or were updated since, newest first; its ``crawl.watermark`` is the next
one.

```python
import asyncio
from pathlib import Path

from dp_async import Client, Watermark

KEPT = Path("works.watermark")


async def main() -> None:
    async with Client.from_env() as client:
        known = Watermark.from_json(KEPT.read_text()) if KEPT.exists() else None
        async with client.works().since(known) as crawl:  # since None: all of it
            async for work in crawl:
                print(work.digital_person_works_id, work.name, work.updated_at)
        if crawl.watermark is not None:  # once the last row was delivered, not before
            KEPT.write_text(crawl.watermark.to_json())


for _ in range(2):
    asyncio.run(main())
```

On the command line that is ``dp-async works --since works.watermark``. It reads from the head
down to the first row that is older than the watermark less ``allowed_lateness``, then the head
again. Nothing new is one request of 20 rows or a few more; 20 changes among 100,000 are two.

- **Nothing is lost** from one watermark to the next: each row comes in its latest version, once
  in a run. A row that changes again while it is read comes again in the next run.
- **The watermark moves on** even where the list is too busy for ``report.complete``; then what
  changed *meanwhile* may be missing from this run, and is the next one's. Where a gap cannot be
  ruled out, or at a ``limit``, it stays where it was and remembers what was delivered. ``None``:
  keep the one you have.
- **Late rows**: with ``since(allowed_lateness=...)`` (10 s, at least that of the options) rows
  that become visible so long after the update time they carry are found all the same. The last
  seconds are read again, and what was delivered of them is left out, unless it has changed within
  its second. Whatever else is on the pages read anyway is compared too, as far as the watermark
  remembers it.
- **Its size**: at most 2,000 characters. It remembers about 200 rows one by one. Where the last
  seconds hold more, as after an import, it remembers a second as a whole, whose rows come again
  once after one of them was changed or deleted.
- **A row dated in the future**, by a bad import or a clock that was ahead, comes once a version
  and hides nothing: no watermark is newer than the answers' ``Date`` (this machine's clock where
  they have none). Rows are read past it at each run, so many of them cost the pages that they
  fill, and two more. If a watermark lies more than a minute ahead of the ``Date``, the whole list
  is read again, and ``report.reason`` says so.
- **Not seen**: rows that were deleted; changes without a newer update time; rows without an
  update time; changes that do not move a row, as when a message is read, unless the row is on a
  page that is read anyway; rows that come into a filtered list without being updated. Under such
  a filter, as ``read_status="READ"``, ``report.complete`` is ``None``. Nor, below the pages read,
  rows stamped by a clock that was set back further than ``allowed_lateness`` while the server's
  ``Date`` went on.
- **Refused**: a damaged watermark, one of another list, filter or account, ``sort="ASC"``,
  ``verify=False`` (ConfigError, before any request); a list found not to be newest first, by
  update or by create time (PaginationError).

A head that is read has to span more time than ``allowed_lateness`` for ``report.complete``. With
60 writes a second, between runs and during them, pages of 20 rows or more still did in all runs
measured (with 100 rows, 7 to 15 requests each); pages of 10 rows in four of five, and at a price.
``since`` wants large pages.

## For as long as you iterate: watch

``watch(interval)`` yields rows that are new or were updated, from now on or ``since`` a
watermark:

```python
from pathlib import Path

from dp_async import Client, Watermark


async def follow(client: Client, kept: Path) -> None:
    since = Watermark.from_json(kept.read_text()) if kept.exists() else None
    async with client.works().watch(5.0, since=since) as watch:
        async for work in watch:
            print(work.digital_person_works_id, work.status, work.updated_at)
            if watch.watermark is not None:
                kept.write_text(watch.watermark.to_json())
```

- It polls about every ``interval`` seconds, give or take a tenth; not while you are busy with a
  row. A poll that finds nothing new is one request of 20 rows; more, while more rows than that
  carry the newest seconds. Much that is new is read as a crawl is, in its window; a row that was
  updated twice meanwhile comes once.
- No answer, 429 and 5xx are waited out with a backoff that grows to 30 s (or the interval), never
  back before a ``Retry-After``, each with a warning in the log. 401, 4xx and answers that are not
  what is documented are raised; the next ``anext`` waits and goes on. A timeout round ``anext``
  loses nothing.
- With ``watch(5.0, on_bad_item=callback)`` a row that cannot be read goes to the callback, once,
  and again when it has changed; the other rows arrive.
- Leave it by ``async with``: its requests end at once, and a waiting ``anext`` gets ClientClosed.
- ``watch.watermark`` moves on with the last row of a poll, and never past what you were given:
  after a restart from it some rows may come again, none is left out.
- What was deleted is not seen, nor an update that leaves the row's time as it was, unless it is
  one of the list's last seconds.
"""
