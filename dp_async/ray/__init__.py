"""Both lists of many apps in Delta tables, by many workers at once. Needs the extra ``ray``.

- ``_apps``: the apps, and the outcomes of one that failed as a whole.
- ``_worker``: apps that are synced in one event loop.
- ``_queue``: which worker gets which app.
- ``_here``: one worker, in a thread of this process.
- ``_cluster``: workers in processes that Ray starts; ``_actor``: such a process.

All of an app goes to one worker, whose client keeps that app's limit, so workers share nothing but
the tables. Ray starts the workers, restarts them and repeats their calls; Delta Lake commits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from inspect import get_annotations, iscoroutinefunction
from pathlib import Path
from typing import cast

from .. import Client, ConfigError, CrawlOptions, Settings

try:
    from .. import delta
    from ..tables import Outcome
except ImportError as error:
    raise ImportError(
        "dp_async.ray needs ray, deltalake and pyarrow, which are an extra: "
        "pip install 'dp_async[ray]'"
    ) from error

from ._apps import App, RayFailed, checked, nobody, outcomes
from ._here import results_here
from ._queue import Queue
from ._worker import Job

__all__ = ["App", "RayFailed", "sync"]

for _public in (App, RayFailed):
    # typing.get_type_hints would look for the names of its annotations in this module.
    _public.__annotations__ = get_annotations(_public, eval_str=True)
    _public.__module__ = __name__  # tracebacks show the public name

DEFAULTS = CrawlOptions()


def sync(
    apps: Iterable[App],
    settings: Callable[[str], Settings],
    uri: str | os.PathLike[str],
    *,
    workers: int | None = None,
    address: str | None = None,
    apps_at_once: int = 100,
    at_once: int = 4,
    full: bool = False,
    reconcile: bool = False,
    allowed_lateness: float = 10.0,
    options: CrawlOptions = DEFAULTS,
    client: Callable[[Settings], Client] = Client,
    storage_options: Mapping[str, str] | None = None,
) -> Generator[Outcome, None, None]:
    """The outcome of each list of each account of each app, once all of its app is committed.

    ``for outcome in sync(apps, settings, "folder")`` keeps the tables of ``dp_async.delta.sync`` up
    to date, on all cores of this machine, with nothing set up before. An app that fails stops no
    other: its outcomes have the error.

    - *settings*: called in the worker, in a thread, with an app's id; gives the settings of that
      app. So no secret passes through Ray, into its logs or its state. What it raises fails the app
      alone.
    - *uri*, *full*, *reconcile*, *allowed_lateness*, *options*, *storage_options*: as for
      ``dp_async.delta.sync``. On a cluster *uri* must be the same place for all workers. Storage
      options pass through Ray: credentials are better left to the workers' environment.
    - *workers*: processes, with a core each; None: as many as Ray has cores. 0: none and no Ray,
      all apps are synced in a thread of this process.
    - *address*: of a Ray cluster, as ``"auto"`` or ``"HOST:PORT"``. None: of the Ray that this
      process has initialised, else one that is started here and ends with the iteration.
    - *apps_at_once*: apps in each worker, the largest first. *at_once*: accounts of each.
    - *client*: makes the client, in the worker.

    *settings* and *client* are pickled: functions of a module that the workers can import, or of
    the program itself.

    Workers that die are restarted, and what they were at is repeated: nothing is lost, and nothing
    is in the tables twice. The counts of a repeated app leave out what was committed before. An app
    whose worker dies four times has failed. If the program ends or is killed, so do its workers;
    run it again. Close the iterator to stop early. Workers have at most *apps_at_once* clients, one
    for each app, so ``Settings.rate`` holds for the whole app.

    Raises ConfigError for arguments that are not valid; as it is iterated, before any request,
    RayFailed if Ray cannot be started or reached, and ConfigError and ``delta.LoadFailed`` for the
    tables; and at its end an ExceptionGroup of the exceptions of apps that are bugs.
    """
    for name, number, least in (("apps_at_once", apps_at_once, 1), ("workers", workers, 0)):
        if number is not None and not _is_whole(number, least):
            raise ConfigError(f"{name} must be a whole number, {least} or more")
    for name, callback in (("settings", settings), ("client", client)):
        if not callable(callback) or iscoroutinefunction(callback):
            raise ConfigError(f"{name} must be a plain function")
    given_address: object = address  # whatever its type says
    if address is not None and not (isinstance(given_address, str) and address.strip()):
        raise ConfigError('address must be a text such as "auto" or "HOST:PORT"')
    if address is not None and workers == 0:
        raise ConfigError("address: workers=0 means no Ray at all; leave one of them out")
    uri = _absolute(uri)
    load = partial(
        delta.sync,
        uri=uri,
        full=full,
        reconcile=reconcile,
        allowed_lateness=allowed_lateness,
        options=options,
        at_once=at_once,
        storage_options=storage_options,
    )
    given = checked(apps, load)
    nobody("unset").works(options=options).since(None, allowed_lateness=allowed_lateness)
    prepare = partial(delta.prepare, uri, storage_options=storage_options)
    job = Job(settings, client, load, prepare)
    if workers == 0:
        return outcomes(results_here(job, Queue(given, 1, apps_at_once)))
    try:
        from ._cluster import results_of_cluster
    except ImportError as error:
        raise ImportError(
            "dp_async.ray needs ray, which is an extra: pip install 'dp_async[ray]'"
        ) from error
    return outcomes(results_of_cluster(job, given, apps_at_once, workers, address))


def _is_whole(given: object, least: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= least


def _absolute(uri: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """A folder from the root, as the workers' working directory may be another one."""
    given = cast("object", uri)  # whatever its type says
    if isinstance(given, os.PathLike) or (
        isinstance(given, str) and given.strip() and "://" not in given
    ):
        return Path(uri).expanduser().absolute()
    return uri
