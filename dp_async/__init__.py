"""An asyncio SDK for a digital-human video platform's Open API: its lists as concurrent streams.

``_public`` lists the whole public surface; all modules with a leading underscore are private. They
are imported when the first public name is used, not before: importing aiohttp takes long, and until
the command line has set its signal handlers, Ctrl-C would show a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._public import *  # noqa: F403  # its __all__ lists them
    from ._public import __all__ as __all__

else:  # type checkers would take __getattr__ for "any name"

    def __getattr__(name: str) -> object:
        if name in ("__all__", "__version__") or not name.startswith("__"):
            from importlib import import_module

            public = import_module("._public", __name__)
            globals().update({each: getattr(public, each) for each in ("__all__", *public.__all__)})
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        __getattr__("__all__")
        return sorted(globals())
