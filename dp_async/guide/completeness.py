"""Completeness: does a crawl see every row, how is that proven, and when can it not be?

Text alone, no code.

## The problem

The lists are sorted newest first and served by page numbers. A work that is finished, renamed or
created while you read moves to the head and pushes all others one place back. One that is
deleted, or leaves your filter, pulls them forward. Between two pages a row slips through, and
nothing in the answers says so.

## What a crawl does

A crawl reads overlapping pages and checks that they join. So it can *prove* that no row which was
there from its start to its end is missing. ``report.complete`` has three values:

| value | meaning |
|---|---|
| ``True`` | proven: every row that was in the list all the time was yielded, and no id twice |
| ``False`` | not proven; ``report.reason`` says why |
| ``None`` | not known: stopped early, ``verify=False``, or a filter that rows enter unnoticed |

At the end of a crawl that is ``False``, a loop over the listing or its ``pages()``, ``collect()``
and ``strict=True`` raise IncompleteCrawl; ``crawl()``, ``since()`` and ``watch()`` log a warning.

A quiet list costs one more request: page 1, the last page, all between, and page 1 again. It
costs two more if the last page is full, and none if one short page is all there is. As soon as
the list is seen to change, pages overlap by a few rows. At the end, pages that do not join are
read again; rows found then come after the others.

## What the proof assumes

- An answer shows the list of one moment, at most ``replica_lag`` ago (0 s: no stale replica).
- A row that enters or is updated carries the current second, give or take ``allowed_lateness``,
  or one that the answers' ``Date`` shows to lie in the future.
- The list is sorted by update or by create time, or does not change while it is read.
- Rows of one second keep their order where pages that overlap show it. Where the create time
  sorts a list that changes and whose rows are updated, this is not assumed: each second has to
  fit into half a page.

What can be checked is checked: rows that appear later than allowed, a clock that is set back,
rows that vanish and come back, ties that change places, totals and places of rows that show more
new rows than the newest end does. Where the proof fails, as in a list without any order that
changes all the time, the crawl says so.

It also fails where a list changes so fast that the largest page the server allows spans less time
than ``allowed_lateness``, as 100 rows do at more than 50 writes a second. There a row may become
visible on page 2, just after page 1 was read, and move to page 1 by another update before page 2
is read. No answers exclude that, so only its count can prove such a list.

``report.margin`` is how late rows may become visible, in seconds, for the proof still to hold: at
least ``allowed_lateness``, on most lists far more, ``inf`` where it does not matter.

A message that is read keeps its update time. So with ``messages(read_status="READ")`` a row can
come in unnoticed while you read: ``complete`` is ``None`` there, unless all came in one answer.

``benchmarks/README.md`` has how often one plain pass loses rows at which rates of change, how
often a crawl is proven complete there, and what that costs.

## After an error, and in two parts

The error of a page is raised once, and the next ``anext`` requests that page again: no row is
lost by going on.

```python
import asyncio

from dp_async import Client, DpError


async def main() -> None:
    async with Client.from_env() as client, client.works().crawl() as crawl:
        pages = crawl.pages()
        while True:
            try:
                page = await anext(pages)
            except StopAsyncIteration:
                break
            except DpError as error:
                print(error)
                break  # or count, wait and go on
            print(page.page_num, len(page))
        print(crawl.report.complete, crawl.report.reason)


asyncio.run(main())
```

A long crawl can be cut in two: keep ``crawl.checkpoint()``, and go on with
``listing.crawl(resume=...)``. The pages before are not read again if the list is still what it
was; else the crawl starts over, and says so. Rows may come twice, none is left out. A crawl that
was resumed does not call itself complete.

## Errors that are no losses

An answer that echoes another page, the same rows under every page number, and a list that grows
as fast as it is read raise PaginationError. A row that cannot be read raises DecodeError with its
path and id; with ``on_bad_item="keep"`` it is kept apart in ``crawl.bad_items``, and the other
rows of its page arrive.

## What it does not say

It does not say which rows *changed* while it read: a row that was updated may come as it was
before or after. The proof is computed between two pages, in the event loop: about a tenth of a
second at a million rows, a few thousandths at ten thousand.
"""
