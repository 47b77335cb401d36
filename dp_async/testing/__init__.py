"""A simulator of the API to test against: on loopback or in process, with faults and writes.

::

    from dp_async import Client
    from dp_async.testing import Reset, Simulator

    async with Simulator(works=1070) as simulator, Client(simulator.settings) as client:
        simulator.fail(Reset())
        async with simulator.writing("work_list", inserts=5, updates=5):
            async for work in client.works():
                ...

Documented, and true of the simulator: paths and methods, parameters, headers, ``pageNum`` from 1
but ``number`` from 0, the envelope, the fields of a page and of the rows (the first 20 of each list
are the documented example), the order of the lists, whole seconds at +08:00.

Assumed of the real server; what may differ is a parameter of ``Simulator``:

- the string that is signed, the unit of the timestamp, how far it may be off (5 minutes);
- the codes of refusals (401, 403, 404, 405, 412, 429), all of them in HTTP 200;
- a page size above 100 is cut to 100, and the answer echoes the size that was used;
- without ``pageNum`` the first page, without ``pageSize`` 10 rows; an empty filter filters nothing;
  ``name`` is a case-sensitive substring; ``sort`` is ASC or DESC by time, ids ascend within a
  second either way; an unknown status matches nothing;
- totals come from a second query, and the last page corrects them, as in Spring Data;
- every write stamps ``updateTime``; a message's place depends on its ``createTime`` alone.

Rows past the documented ones, the ``host`` and all error texts are made up.
"""

from inspect import get_annotations

from ._arguments import SimulatorMisused
from ._database import Database, Delay
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
from ._history import Change, Mark
from ._lists import SimulatedList
from ._requests import SeenRequest
from ._rows import Endpoint
from ._serve import serve
from ._simulator import Simulator
from ._writer import Writes

__all__ = [
    "Altered",
    "AnswerFault",
    "AuthFailure",
    "BadRow",
    "Body",
    "Bomb",
    "Change",
    "Database",
    "Delay",
    "Drip",
    "Empty",
    "Endless",
    "Endpoint",
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
    "SimulatorMisused",
    "Throttle",
    "WireFault",
    "Writes",
    "WrongCode",
    "WrongEcho",
    "serve",
]

for _name in {*__all__} - {"Endpoint"}:  # an alias of a Literal has no module
    _public = globals()[_name]
    # typing.get_type_hints would look for the names of its annotations in this module.
    _public.__annotations__ = get_annotations(_public, eval_str=True)
    _public.__module__ = __name__  # tracebacks show the public name
