"""The rows that the simulator serves: the documented ones, then made-up ones of the same shape.

No state, no clock. A made-up row is a function of its id and its second, and is built only when it
is read: a list of 100,000 rows costs little.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate, cycle, islice
from random import Random
from time import gmtime, strftime, strptime
from typing import Literal, TypeAlias

import msgspec

from ._arguments import choice

#: The name of a list: that of the client's method for one page.
Endpoint: TypeAlias = Literal["work_list", "msg_list"]
ENDPOINTS: tuple[Endpoint, Endpoint] = ("work_list", "msg_list")
#: One row, its keys and values as on the wire.
Row: TypeAlias = dict[str, object]

#: Times carry no offset; the epoch milliseconds in the documented URLs show that it is +08:00.
OFFSET = 8 * 3600
TIME = "%Y-%m-%d %H:%M:%S"
USER = 81
FILES = "https://digital-person-daily.oss-cn-hangzhou.aliyuncs.com/FileUpload/0/UID_81/Video/Works"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What distinguishes the lists of the API.

    - *endpoint*: its name; *segment*: the last segment of its URL's path.
    - *method*: the HTTP method; *order*: the order of the totals' keys in an answer.
    - *key*: the column of the id; *time*: the column that orders the list.
    - *exact*, *fuzzy*: filters by equality and by substring; *sortable*: ``sort`` is known.
    - *make*: builds a row from an id and a second; *changed*: the fields of a background update.
    """

    endpoint: Endpoint
    segment: str
    method: str
    order: tuple[str, ...]
    sortable: bool = False
    key: str
    time: str
    exact: tuple[str, ...] = ()
    fuzzy: tuple[str, ...] = ()
    make: Callable[[int, int], Row]
    changed: Callable[[Random], Row]


def text_of(second: int) -> str:
    """The API's text for a second since the epoch."""
    return strftime(TIME, gmtime(second + OFFSET))


def second_of(text: object) -> int:
    """The second since the epoch that *text* means; 0 for null, which sorts as the oldest."""
    return timegm(strptime(text, TIME)) - OFFSET if isinstance(text, str) else 0


def documented(kind: Kind) -> list[Row]:
    """The rows of the documented example answer, unchanged and in order."""
    data = files("dp_async.testing").joinpath(f"{kind.endpoint}.json").read_bytes()
    return msgspec.json.decode(data, type=list[Row])


def made_up(kind: Kind, count: int, *, before: int, above: int) -> list[tuple[int, int]]:
    """*count* (second, id) pairs, all older than *before*, newest first; ids greater than *above*.

    A fifth of the rows share their second with the previous one, as in the documented messages.
    """
    random = Random(kind.segment)
    gaps = [0 if random.random() < 0.2 else round(random.expovariate(1 / 150)) for _ in range(499)]
    seconds = accumulate(cycle(gaps), lambda second, gap: second - gap, initial=before - 60)
    return [(second, above + count - n) for n, second in enumerate(islice(seconds, count))]


def _mix(number: int) -> int:
    """Knuth's multiplicative hash: neighbouring numbers give unrelated results."""
    return number * 2654435761 >> 4 & 0xFFFFFF


def fraction(key: int) -> float:
    """The hidden part of a second in which a made-up row was written."""
    return _mix(key) / (1 << 24)


WORK_NAMES = (
    "测试OpenApi的作品0712-1",
    "测试TTS作品",
    "未命名视频",
    "新品发布 2023 夏季",
    "Quarterly update",
    "客服问答《第一集》",
    'She said "你好" & left',
    "节日祝福🎉",
)
WORK_STATUSES = ("SUCCESS",) * 11 + ("DRAFT",) * 2 + ("IN_PROGRESS",) * 2 + ("FAIL",)


def _work(key: int, second: int) -> Row:
    mix = _mix(key)
    status = WORK_STATUSES[mix % 16]
    name = WORK_NAMES[mix // 16 % 8]
    done = status == "SUCCESS"
    took = 0 if status == "DRAFT" else 30 + mix // 128 % 240
    cover = f"{FILES}/ice-generated/{mix:032x}/covers/{key:032x}-cover.png"
    return {
        "createTime": text_of(second - took),
        "updateTime": text_of(second),
        "digitalPersonWorksId": key,
        "userId": USER,
        "name": name,
        "avatar": cover if done else None if mix % 5 else "",
        "status": status,
        "align": "HORIZONTAL" if mix % 7 == 0 else "VERTICAL",
        "resolution": "1080P" if done else None,
        "worksUrl": f"{FILES}/{name}_{(second - took) * 1000 + key % 1000}.mp4" if done else None,
        "fee": None,
        "duration": round(3 + mix / 200000, 4) if done else None,
    }


NOTICES: tuple[tuple[str, str, Row | None], ...] = (
    (
        "到账通知",
        "您于【{time}】成功充值【{n}】分钟短视频合成时长,已经到账,可以在个人中心查看",
        None,
    ),
    ("到账通知", "您于【{time}】成功充值【{n}】个数字人,已经到账,可以在个人中心查看", None),
    ("数字人定制提交", "您的数字人【模型{n}】已经成功提交审核", {}),
    ("数字人定制成功", "您的数字人【模型{n}】定制成功,有效期365天,可在首页查看并使用", {}),
)


def _message(key: int, second: int) -> Row:
    mix = _mix(key)
    time = text_of(second)
    title, content, params = NOTICES[mix % 4]
    return {
        "createTime": time,
        "updateTime": time,
        "msgId": key,
        "userId": USER,
        "readStatus": "READ" if mix // 4 % 3 else "UNREAD",
        "type": None,
        "title": title,
        "content": content.format(time=time, n=mix // 16 % 200 + 1),
        "params": params,
    }


WORKS = Kind(
    endpoint="work_list",
    segment="workList",
    method="GET",
    order=("last", "totalPages", "totalElements"),
    sortable=True,
    key="digitalPersonWorksId",
    time="updateTime",
    exact=("status",),
    fuzzy=("name",),
    make=_work,
    changed=lambda random: {"status": random.choice(WORK_STATUSES)},
)
MESSAGES = Kind(
    endpoint="msg_list",
    segment="msgList",
    method="POST",
    order=("totalElements", "totalPages", "last"),
    key="msgId",
    time="createTime",
    exact=("readStatus",),
    make=_message,
    changed=lambda random: {"readStatus": random.choice(("READ", "UNREAD"))},
)
KINDS: dict[str, Kind] = {kind.endpoint: kind for kind in (WORKS, MESSAGES)}


def kind_named(endpoint: Endpoint) -> Kind:
    """The list of this name. Raises ConfigError with the known names."""
    choice("endpoint", endpoint, KINDS)
    return KINDS[endpoint]
