"""The queue: single calls first, crawls every fourth time, retries first, in order."""

from __future__ import annotations

import asyncio

from dp_async._call.queue import Queue, Waiter


class Names:
    """A queue of callers with names; a name in capitals is of a single call."""

    def __init__(self, names: str) -> None:
        self.queue = Queue()
        self.futures: dict[str, asyncio.Future[int]] = {}
        for name in names:
            self.push(name)

    def push(self, name: str, *, retry: bool = False, cap: float = 10.0) -> None:
        future = self.futures[name] = asyncio.get_running_loop().create_future()
        waiter = Waiter(not retry, self.queue.ticket(), cap, future)
        self.queue.push(waiter, bulk=name.islower())

    def name(self, future: asyncio.Future[int]) -> str:
        return next(name for name, each in self.futures.items() if each is future)

    def rest(self) -> str:
        """The names in the order in which they are admitted."""
        order = ""
        while self.queue.waiting:
            self.queue.drop_cancelled()
            if self.queue.waiting:
                order += self.name(self.queue.pop())
        return order


async def test_callers_of_one_kind_are_admitted_in_order_and_retries_first() -> None:
    for names in ("abcd", "ABCD"):
        queue = Names(names)
        queue.push(names[0].replace("a", "x").replace("A", "X"), retry=True)
        assert queue.rest().lower() == "xabcd"


async def test_single_calls_go_first_and_crawls_every_fourth_time() -> None:
    assert Names("abcdABCDEFGH").rest() == "ABCaDEFbGHcd"
    assert Names("aABC").rest() == "ABCa"


async def test_single_calls_admitted_while_no_crawl_waits_do_not_count() -> None:
    queue = Names("ABCDE")
    for _ in range(5):
        queue.queue.pop()
    for name in "aFGHI":
        queue.push(name)
    assert queue.rest() == "FGHaI"


async def test_cancelled_callers_are_forgotten() -> None:
    queue = Names("abAB")
    for name in "aAB":
        queue.futures[name].cancel()
    assert queue.rest() == "b"
    queue = Names("a")
    queue.futures["a"].cancel()
    queue.queue.drop_cancelled()
    assert queue.queue.waiting == 0


async def test_callers_with_a_small_cap_are_removed_and_the_others_keep_their_order() -> None:
    queue = Names("ab")
    for name, cap in (("c", 1.0), ("d", 5.0), ("A", 1.0), ("e", 2.0)):
        queue.push(name, cap=cap)
    queue.futures["A"].cancel()
    removed = queue.queue.remove(5.0)
    assert [queue.name(future) for future in removed] == ["c", "e"]
    assert queue.rest() == "abd"


async def test_all_callers_are_removed() -> None:
    queue = Names("abA")
    removed = queue.queue.remove(None)
    assert {queue.name(future) for future in removed} == {*"abA"}
    assert queue.queue.waiting == 0
