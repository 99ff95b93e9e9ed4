"""The table of chains waits for its changelog, and survives what is bad in it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.exceptions import ProducerSendError
from structlog.testing import capture_logs

from agents import chain_table
from agents.chain_table import ChainTable
from app.kafka import changelog
from app.kafka.errors import MessageSizeTooLargeError
from app.telemetry import metrics
from models.chains import ChainState, ChainUpdate


def update(run: str, *, events: int = 1, at: float = 1.0) -> ChainUpdate:
    return ChainUpdate(
        chain="c", run=run, datasets=10 * events, events=events, batch_id="b", written_at=at
    )


class FakeTable:
    """Keeps what was sent to the changelog."""

    def __init__(self) -> None:
        self.data: dict[str, ChainState] = {}
        self.sent: list[tuple[str, Any]] = []
        self.refusals: list[Exception] = []
        self.most_runs = 1000
        self.too_large: set[str] = set()
        self.changelog_topic = SimpleNamespace(send=self.send)

    async def send(self, *, key: str, value: ChainState | None, **options: object) -> Any:
        assert options == {"partition": 0, "key_serializer": "json", "value_serializer": "json"}

        async def sent() -> None:
            if self.refusals:
                raise self.refusals.pop()
            if value is not None and (len(value.runs) > self.most_runs or key in self.too_large):
                raise ProducerSendError from MessageSizeTooLargeError()
            self.sent.append((key, value))

        return sent()


class FakeChangelog:
    """Returns one answer after another."""

    def __init__(self, *answers: Mapping[bytes, bytes | None] | Exception) -> None:
        self.answers = list(answers)

    async def read_beside(self) -> Mapping[bytes, bytes | None]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self) -> None:
        pass


def make(*answers: Mapping[bytes, bytes | None] | Exception) -> tuple[ChainTable, FakeTable]:
    table = FakeTable()
    return ChainTable(cast("Any", table), cast("Any", FakeChangelog(*answers))), table


def event(released: list[int], number: int) -> Any:
    return SimpleNamespace(release=lambda: released.append(number))


STORED = (
    b'{"chain":"c","runs":[{"run":"r1","first_write":1.0,"last_write":2.0,'
    b'"datasets":5,"events":3}]}'
)


def counts(state: ChainState) -> dict[str, int]:
    return {run.run: run.events for run in state.runs}


async def test_updates_wait_for_the_changelog_and_are_added_to_it() -> None:
    keeper, table = make({b'"c"': STORED})
    released: list[int] = []
    for number, each in enumerate([update("r1"), update("r2"), update("r1", events=2)]):
        keeper.note(each)
        keeper.hold(event(released, number))

    await keeper.write()
    assert (table.sent, released) == ([], [])

    await keeper.restore(is_ours=True)
    await keeper.write()
    assert [key for key, _ in table.sent] == ["c"]
    assert counts(table.data["c"]) == {"r2": 1, "r1": 6}
    assert [run.run for run in table.data["c"].runs] == ["r2", "r1"]
    assert released == [0, 1, 2]

    await keeper.write()
    assert len(table.sent) == 1


def rebuilt(**runs: int) -> ChainState:
    return ChainState.from_data(
        {
            "chain": "c",
            "runs": [
                {"run": run, "first_write": 1.0, "last_write": 1.0, "datasets": 1, "events": events}
                for run, events in runs.items()
            ],
        }
    )


async def test_a_rebuilt_chain_replaces_what_was_before_and_later_updates_are_added() -> None:
    keeper, table = make({b'"c"': STORED})
    await keeper.restore(is_ours=True)
    keeper.note(update("r1"))
    keeper.rebuild(rebuilt(r7=7, r1=1))
    keeper.note(update("r7"))
    table.refusals.append(OSError("away"))
    await keeper.write()
    assert counts(table.data["c"]) == {"r1": 3}
    keeper.note(update("r1"))
    await keeper.write()
    assert counts(table.data["c"]) == {"r7": 8, "r1": 2}


async def test_a_rebuilt_chain_without_runs_is_removed() -> None:
    keeper, table = make({b'"c"': STORED})
    await keeper.restore(is_ours=True)
    keeper.rebuild(rebuilt())
    await keeper.write()
    assert (table.sent, table.data) == ([("c", None)], {})
    with pytest.raises(TypeError):
        keeper.rebuild(ChainState.from_data({"chain": "c", "runs": None}))


async def test_one_chain_is_written_again_after_a_restart_so_that_the_pages_find_it() -> None:
    keeper, table = make({b'"c"': STORED, b'"d"': STORED.replace(b'"c"', b'"d"')})
    await keeper.restore(is_ours=True)
    await keeper.write()
    assert [(key, counts(state)) for key, state in table.sent] == [("c", {"r1": 3})]


async def test_a_changelog_that_cannot_be_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changelog, "RETRY_SECONDS", 0.01)
    keeper, table = make(OSError("away"), OSError("away"), {b'"c"': STORED})

    with capture_logs() as logs:
        await keeper.restore(is_ours=True)

    assert counts(table.data["c"]) == {"r1": 3}
    assert [line["log_level"] for line in logs] == ["warning", "warning", "info"]


async def test_bad_records_of_the_changelog_are_skipped() -> None:
    bad = {b"no JSON": STORED, b'"d"': b"no JSON", b'"e"': b"[]", b'"gone"': None}
    keeper, table = make({**bad, b'"c"': b'{"chain":"c","runs":null}'})
    keeper.note(update("r1"))

    with capture_logs() as logs:
        await keeper.restore(is_ours=True)
        await keeper.write()

    assert counts(table.data["c"]) == {"r1": 1}
    assert table.data.keys() == {"c"}
    assert {line["log_level"] for line in logs} == {"warning", "info"}


BAD_STATES = [
    b"[]",
    b"null",
    b"17",
    b'{"chain":"d"}',
    b'{"chain":"d","runs":null}',
    b'{"chain":"d","runs":[5]}',
    b'{"chain":"d","runs":"abc"}',
    b'{"chain":"","runs":[]}',
    STORED.replace(b'"run":"r1"', b'"run":null'),
    STORED.replace(b"2.0", b"1e300"),
    STORED.replace(b"2.0", b"-1"),
    STORED.replace(b":5", b":1e400"),
    STORED.replace(b":5", b":99999999999999999999"),
    STORED.replace(b'"events":3', b'"events":"many"'),
    b"[" * 100_000,
]


@pytest.mark.parametrize("bad", BAD_STATES, ids=range(len(BAD_STATES)))
async def test_a_state_of_another_shape_is_not_in_the_table(bad: bytes) -> None:
    """It would be an error wherever the table is read."""
    keeper, table = make({b'"d"': bad, b'"c"': STORED, b"5": STORED, b"": None, b"{}": None})
    skipped = metrics.SKIPPED_CHAIN_RECORDS._value.get()
    await keeper.restore(is_ours=True)
    assert table.data.keys() == {"c"}
    assert metrics.SKIPPED_CHAIN_RECORDS._value.get() == skipped + 4


async def test_a_chain_that_is_too_large_keeps_its_newest_runs() -> None:
    keeper, table = make({b'"c"': STORED})
    released: list[int] = []
    await keeper.restore(is_ours=True)
    for number in range(2, 9):
        keeper.note(update(f"r{number}"))
    keeper.note(ChainUpdate(**{**update("x").asdict(), "chain": "d"}))
    keeper.hold(event(released, 0))
    table.most_runs = 3
    await keeper.write()
    assert [run.run for run in table.data["c"].runs] == ["r8", "r7"]
    assert ({*table.data}, released) == ({"c", "d"}, [0])


async def test_a_chain_that_is_too_large_with_one_run_keeps_no_other_waiting() -> None:
    keeper, table = make({})
    released: list[int] = []
    await keeper.restore(is_ours=True)
    for chain in ("c", "d"):
        keeper.note(ChainUpdate(**{**update("r").asdict(), "chain": chain}))
    keeper.hold(event(released, 0))
    table.too_large.add("c")
    await keeper.write()
    assert ({*table.data}, released) == ({"d"}, [0])


async def test_a_rebalance_drops_the_updates_that_will_be_redelivered() -> None:
    keeper, table = make({})
    released: list[int] = []
    keeper.note(update("r1"))
    keeper.hold(event(released, 0))
    keeper.revoke()
    await keeper.restore(is_ours=True)
    await keeper.write()
    assert (table.sent, released) == ([], [])


async def test_a_worker_without_the_table_keeps_no_old_states() -> None:
    keeper, table = make()
    table.data["c"] = ChainState(chain="c", runs=[])
    await keeper.restore(is_ours=False)
    assert table.data == {}
    assert not keeper.is_restored


def test_many_updates_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_table, "MOST_HELD", 3)
    keeper, _ = make()
    released: list[int] = []
    for number in range(4):
        keeper.hold(event(released, number))
    assert released == [0, 1, 2]


@pytest.mark.parametrize("field", ["datasets", "events", "written_at"])
def test_an_update_with_a_value_of_another_type_is_refused_at_once(field: str) -> None:
    keeper, _ = make()
    bad = ChainUpdate(**{**update("r1").asdict(), field: "many"})
    with pytest.raises(ValueError, match="many"):
        keeper.note(bad)


async def test_what_the_brokers_do_not_take_is_written_later() -> None:
    keeper, table = make({})
    released: list[int] = []
    await keeper.restore(is_ours=True)
    keeper.note(update("r1"))
    keeper.hold(event(released, 0))
    table.refusals.append(OSError("away"))

    with capture_logs() as logs:
        await keeper.write()
    assert (table.data, table.sent, released) == ({}, [], [])
    assert [line["log_level"] for line in logs] == ["warning"]

    keeper.note(update("r1", events=2))
    keeper.hold(event(released, 1))
    await keeper.write()
    assert counts(table.data["c"]) == {"r1": 3}
    assert (len(table.sent), released) == (1, [0, 1])


@pytest.mark.parametrize("limit", ["MOST_CHAINS", "MOST_RUNS"])
async def test_the_chains_that_were_written_longest_ago_leave_a_full_table(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Whoever may send events or updates can name any number of chains."""
    monkeypatch.setattr(chain_table, limit, 3)
    stored = {
        b'"c%d"' % n: STORED.replace(b'"c"', b'"c%d"' % n).replace(b":2.0", b":%d.0" % (n + 2))
        for n in (4, 0, 2, 1, 3)
    }
    keeper, table = make(stored)
    await keeper.restore(is_ours=True)
    await keeper.write()
    assert table.data.keys() == {"c2", "c3", "c4"}
    # They do not come back from the changelog either.
    assert [key for key, value in table.sent if value is None] == ["c0", "c1"]


async def test_no_more_updates_wait_than_the_table_has_chains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain_table, "MOST_CHAINS", 3)
    keeper, table = make({})
    skipped = metrics.SKIPPED_CHAIN_UPDATES._value.get()
    for n in range(5):
        keeper.receive(
            b'{"chain":"c%d","run":"r","datasets":1,"events":1,"batch_id":"b","written_at":1}' % n
        )
    await keeper.restore(is_ours=True)
    await keeper.write()
    assert table.data.keys() == {"c0", "c1", "c2"}
    assert metrics.SKIPPED_CHAIN_UPDATES._value.get() == skipped + 2
