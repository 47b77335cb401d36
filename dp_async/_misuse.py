"""What an asynchronous object says where it is used without ``async``: what to write instead.

No state. Type checkers do not see it, so that they refuse the same mistakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:

    class AsyncEntered:
        __slots__ = ()

    class AsyncIterated:
        __slots__ = ()

else:

    class AsyncEntered:
        """An asynchronous context manager."""

        __slots__ = ()

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} needs `async with`, in a coroutine: asyncio.run(main())"
            )

        def __exit__(self, *error: object) -> None:
            """Without it, ``with`` does not call ``__enter__``."""

    class AsyncIterated:
        """An asynchronous iterable."""

        __slots__ = ()

        def __iter__(self) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} needs `async for`, in a coroutine: asyncio.run(main())"
            )

        def __await__(self) -> NoReturn:
            others = ", or await its collect(), page() or first()"
            raise TypeError(
                f"a {type(self).__name__} is not awaited: iterate it by `async for`"
                f"{others if hasattr(self, 'collect') else ''}"
            )
