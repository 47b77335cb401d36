"""A sync job: both lists into a database, a data lake or Arrow, again and again.

Text alone, no code.

## The command

``pip install 'dp_async[sync]'``, then try it on a simulated server: ``dp-async sync --demo``. For
your own::

    $ export DP_SYNC_TO=postgresql://user:password@host/warehouse
    $ dp-async sync                     # first everything, then what is new or was updated
    $ dp-async sync --reconcile         # everything; gone_at is set where a row is gone
    $ dp-async sync --accounts accounts.txt --watch --every 60

``DP_SYNC_TO`` may also be ``duckdb:///videos.duckdb``, a folder, or Delta tables
(``delta:///lake``, ``s3://bucket/prefix``).

Each run goes on from the last one that was loaded to its end, and what that was stands in the
database itself: kill it at any moment, run it again on another machine, and no row is lost or
there twice. Only one runs at a time into a dataset; another one says so. A folder gets
``works.parquet`` and ``messages.parquet``, each replaced when it is whole.

## In a dlt pipeline of your own

With the extra ``dlt``; `dp_async.dlt.source` is what the command uses:

```python
import dlt

from dp_async import Settings
from dp_async.dlt import source

pipeline = dlt.pipeline("videos", destination="duckdb", dataset_name="dp_data")
pipeline.run(source(Settings.from_env()))  # everything
pipeline.run(source(Settings.from_env()))  # what is new since
pipeline.run(source(Settings.from_env(), reconcile=True))  # and what is gone
with pipeline.sql_client() as client:
    print(client.execute_sql("SELECT status, count(*) FROM works WHERE gone_at IS NULL GROUP BY 1"))
```

- The tables ``works`` and ``messages`` are keyed by ``account`` ("" for the main one) and id.
  Times are ``timestamptz``; a value of no documented type (``fee``, ``params``) is its JSON as
  text. A field that is not documented becomes a column of such JSON, whose name depends on the
  field's alone: ``viewCount`` is ``view_count``; `dp_async.tables.column_name` has the rule.
- What was deleted, and a message that was read, change no row's update time: ``--reconcile`` sees
  them. It marks nothing unless the crawl is *proven* to be complete; else the exit code is 3.
- It is for DuckDB and PostgreSQL; other destinations of dlt with SQL may work and are not tested.
  PostgreSQL holds no NUL character: it is replaced in every destination.
- If the destination lacks the newest row that was loaded before, or a column (a table dropped,
  emptied or restored from a backup), all rows of that list and account are loaded again, with a
  warning. Older rows deleted by hand are noticed by ``--full`` alone.
- A table that is not one of these, or a watermark of another app or address, is refused before
  any request for that list, and nothing is loaded. ``--full`` takes everything again, whatever
  the watermark.
- A row that cannot be read fails the list of its account, and all others are loaded. With
  ``source(..., on_bad_item="keep")`` the other rows of its list are too, and
  ``Outcome.bad_items`` (``on_outcome=``, `dp_async.tables.Outcome`) has the bad ones.
- No row or id is kept in memory until the end: what was read is compared inside the database, in
  a temporary table (PostgreSQL: the user needs the right ``TEMPORARY``). What grows with a list
  is the proof that its crawl is complete; ``dp-async sync`` gives DuckDB 64 MB.
- Two pipelines of your own into one dataset at once are yours to prevent; the command does.

## Delta tables

On disk or S3, for DuckDB, Polars and Spark to read (extra ``delta``, `dp_async.delta.sync`):

```python
import asyncio

from dp_async import Client, delta


async def main() -> None:
    async with Client.from_env() as client:
        async for outcome in delta.sync(client, ["19900000001", "19900000002"], "lake"):
            print(outcome.resource, outcome.account, outcome.new, outcome.updated, outcome.error)


asyncio.run(main())
```

- ``lake/works`` and ``lake/messages`` are partitioned by ``app_id`` and keyed by ``app_id``,
  ``account`` and id, with the columns of the dlt source and times at UTC; ``lake/watermarks``
  holds how far each list is. All accounts of an app and list are merged in one commit, many rows
  in one for about each 50,000, and the watermarks after them.
- Kill it at any moment and run it again: no row is lost or there twice. Syncs of different apps
  may run at once, on any machines. Of two syncs of the same app, the one that commits second
  reads its rows again, so that no older version of a row replaces a newer one.
- ``"s3://bucket/prefix"``: credentials come from the environment or ``storage_options``, as in
  deltalake, and no error shows them. ``reconcile=True`` and ``full=True`` are as above.
- Each merge touches a bounded number of stored rows. Tables that are compacted into few large
  files lose that.
- Commits add files: vacuum the tables from time to time, as with any Delta table.
- The same as a command: ``dp-async sync --to delta:///lake`` (extras ``cli`` and ``delta``). Many
  apps: `dp_async.guide.scale`.

## What arrives once, and what may arrive again

| what | each row | after a kill |
|---|---|---|
| a database, `dp_async.dlt` | exactly once: merged, with its watermark | the load is repeated |
| a folder | exactly once: a file is replaced when whole | the file before stays |
| Delta tables, `dp_async.ray` | exactly once: merged, the watermark later | it is merged again |
| ``crawl()``, `crawl_accounts` | once; after a checkpoint, at least once | from that checkpoint |
| ``since()``, ``watch()`` | at least once | from the watermark that you kept |
| `dp_async.tables.Outcome` | at most once | not repeated |

## Arrow

Without any database (extra ``arrow``, `dp_async.arrow`):

```python
import asyncio

from dp_async import Client, arrow


async def main() -> None:
    async with Client.from_env() as client:
        works = await arrow.to_table(client.works())
        print(works.schema, works.num_rows)

        async with client.messages().crawl() as crawl:  # a record batch for each page
            async for batch in arrow.batches(crawl):
                print(batch.num_rows)


asyncio.run(main())
```

Columns are those of the Struct, so a field that is not documented is left out there; give
``typed`` a Struct with more fields. ``dp-async works --output works.parquet`` writes the same.
"""
