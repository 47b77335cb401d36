"""An asyncio SDK for a digital-human video platform's Open API: its lists as concurrent streams.

::

    async with Client.from_env() as client:  # DP_BASE_URL, DP_APP_ID, DP_APP_SECRET
        page = await client.work_list(page_num=1, page_size=20)
        async for work in client.works(status="SUCCESS"):
            print(work.name, work.updated_at)

`dp_async.guide` explains completeness, reading only what changed, syncing, scale and web apps.

``_public`` lists the whole public surface; all modules with a leading underscore are private. They
are imported when the first public name is used, not before: importing aiohttp takes long, and until
the command line has set its signal handlers, Ctrl-C would show a traceback. Some names of values
are loaded without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._public import *  # noqa: F403  # its __all__ lists them
    from ._public import __all__ as __all__

else:  # type checkers would take __getattr__ for "any name"
    #: Names that are loaded alone, from files that import no network library: the help of the
    #: command line, and an error in its flags, need no more.
    _ALONE = {
        "ConfigError": "_errors",
        "DpError": "_errors",
        "ReadStatus": "_models",
        "SortOrder": "_models",
        "WorkStatus": "_models",
        "CrawlOptions": "_settings",
        "Settings": "_settings",
    }

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name == "__version__":
            return import_module("._version", __name__).VERSION
        if name in _ALONE:
            return _published(getattr(import_module(f".{_ALONE[name]}", __name__), name))
        if name == "__all__" or not name.startswith("__"):
            public = import_module("._public", __name__)
            names = {each: _published(getattr(public, each)) for each in public.__all__}
            globals().update(names, __all__=public.__all__)
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def _published(value: object) -> object:
        """*value*, which shows as this module's in tracebacks and pickles, if it can."""
        from inspect import get_annotations

        if getattr(value, "__module__", __name__) != __name__:
            # typing.get_type_hints would look for the names of its annotations in this module.
            value.__annotations__ = get_annotations(value, eval_str=True)
            value.__module__ = __name__
        return value

    def __dir__() -> list[str]:
        __getattr__("__all__")
        return sorted(globals())
