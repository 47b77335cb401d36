"""A simulated list against a naive model that sorts all rows for each read."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_async.testing import Database, SimulatedList

FILTERS: list[dict[str, str | None]] = [
    {},
    {"status": "DRAFT"},
    {"name": "TTS"},
    {"name": "TTS", "status": "SUCCESS"},
]
DATABASES = [
    Database(),
    Database(ties="id descending"),
    Database(unstamped=1.0),
    Database(replicas=(0.0,), counted="before"),
]
ACTION = st.tuples(
    st.sampled_from(["insert", "update", "finish", "delete", "tick"]),
    st.integers(0, 60),
    st.sampled_from(["SUCCESS", "DRAFT", "IN_PROGRESS"]),
)


@settings(deadline=None)
@given(
    st.integers(0, 40),
    st.lists(ACTION, max_size=25),
    st.sampled_from(FILTERS),
    st.booleans(),
    st.sampled_from(DATABASES),
)
def test_order_filters_and_history(
    count: int,
    actions: list[tuple[str, int, str]],
    filters: dict[str, str | None],
    ascending: bool,
    database: Database,
) -> None:
    now = 1_700_000_000.0
    works = SimulatedList("work_list", count, clock=lambda: now, database=database)
    rows = {key: works.row(key) for key in works.ids()}

    def expected() -> list[int]:
        def matches(key: int) -> bool:
            row = rows[key]
            named = str(filters.get("name") or "") in str(row["name"])
            return named and filters.get("status") in (None, row["status"])

        falling = database.ties == "id descending"
        keys = sorted((key for key in rows if matches(key)), reverse=falling)
        return sorted(keys, key=lambda key: str(rows[key]["updateTime"]), reverse=not ascending)

    works.ids(ascending=ascending, **filters)  # makes the view, which each write then updates
    mark = works.mark()
    present = set(expected())
    for action, at, status in actions:
        known = sorted(rows)
        key = known[at % len(known)] if known else 0
        if action == "tick":
            now += 0.5
        elif action == "insert":
            key = works.insert(status=status)
        elif not known:
            continue
        elif action == "delete":
            works.delete(key)
            del rows[key]
        else:
            works.update(key, **({"status": status} if action == "finish" else {}))
        if key in works:
            rows[key] = works.row(key)
        present &= set(expected())
        assert works.ids(ascending=ascending, **filters) == expected()
    assert works.present_since(mark, **filters) == present
    content, total = works.read(3, 5, filters, ascending=ascending)
    ids = [
        msgspec.json.decode(raw, type=dict[str, object])["digitalPersonWorksId"] for raw in content
    ]
    assert ids == expected()[3:8]
    assert total == len(expected())
