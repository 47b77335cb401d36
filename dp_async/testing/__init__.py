"""A server to test against: the documented API on loopback, with everything that can go wrong.

::

    from dp_async import Client
    from dp_async.testing import Reset, Simulator

    async with Simulator(works=1070) as simulator, Client(simulator.settings) as client:
        simulator.fail(Reset())
        async with simulator.writing(inserts=5, updates=5):
            async for work in client.works():
                ...

Documented, and checked here: both paths and verbs, the parameters, the headers, ``pageNum`` from 1
against ``number`` from 0, the envelope, the fields of a page and of the rows (the first 20 of each
list are the documented example), the order of the lists, whole seconds at +08:00.

Assumed of the real server, and a knob of ``Simulator`` where it matters:

- the string that is signed, the unit of the timestamp, how far it may be off (5 minutes);
- the codes of refusals (401, 403, 404, 405, 412, 429), and that HTTP says 200 to all of them;
- a page size above 100 is cut to 100, and the answer echoes the size that was used;
- without ``pageNum`` the first page, without ``pageSize`` 10 rows; a filter that is empty filters
  nothing; ``name`` is a substring, case-sensitive; ``sort`` is ASC or DESC by time, ids ascending
  within a second either way; a status that does not exist matches nothing;
- totals come from a second query, and the last page's are rewritten, as in Spring Data;
- every write stamps ``updateTime``; a message's place depends on its ``createTime`` alone.

Rows past the documented ones, the ``host`` and all error texts are made up.
"""

from ._faults import (
    Altered,
    AnswerFault,
    AuthFailure,
    BadRow,
    Body,
    Bomb,
    Drip,
    Empty,
    Endless,
    Fault,
    HalfBody,
    Hang,
    Html,
    HugeHeader,
    LyingTotals,
    Malformed,
    NullData,
    PageFault,
    Redirect,
    Reset,
    RowWithoutId,
    SamePage,
    Throttle,
    WireFault,
    WrongCode,
    WrongEcho,
)
from ._lists import Mark, SimulatedList
from ._simulator import SeenRequest, Simulator, serve
from ._writer import Writes

__all__ = [
    "Altered",
    "AnswerFault",
    "AuthFailure",
    "BadRow",
    "Body",
    "Bomb",
    "Drip",
    "Empty",
    "Endless",
    "Fault",
    "HalfBody",
    "Hang",
    "Html",
    "HugeHeader",
    "LyingTotals",
    "Malformed",
    "Mark",
    "NullData",
    "PageFault",
    "Redirect",
    "Reset",
    "RowWithoutId",
    "SamePage",
    "SeenRequest",
    "SimulatedList",
    "Simulator",
    "Throttle",
    "WireFault",
    "Writes",
    "WrongCode",
    "WrongEcho",
    "serve",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # tracebacks show the public name
