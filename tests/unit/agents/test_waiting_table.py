"""The table of what waits: nothing is lost, and nothing is taken early or twice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest
from structlog.testing import capture_logs

from agents import waiting_table
from agents.waiting_table import WaitingTable
from app.butler.failures import RetryableError
from app.downstream.kept_state import WithdrawnDataset, WithdrawnRun
from app.downstream.waiting import HELD, Due
from app.downstream.withdrawn import Withdrawn

FIRST, SECOND, OTHER = Due(100, 0, 7), Due(200, 0, 7), Due(100, 1, 9)


class Log:
    """A changelog: what is sent, and the last value of each key."""

    def __init__(self) -> None:
        self.topic = "changelog"
        self.number = 0
        self.latest: dict[bytes, bytes | None] = {}
        self.sent: list[tuple[str, Any]] = []
        self.changelog_topic = SimpleNamespace(send=self.send)

    async def send(self, *, key: str, value: Any, **_: object) -> Any:
        async def sent() -> None:
            self.sent.append((key, value))
            self.latest[orjson.dumps(key)] = None if value is None else orjson.dumps(value)

        return sent()

    def anew(self) -> Log:
        return self

    async def read_beside(self) -> dict[bytes, bytes | None]:
        return dict(self.latest)

    async def removals(self) -> int:
        return self.number


def table(log: Log, rules: str = "a") -> WaitingTable:
    return WaitingTable(cast("Any", log), cast("Any", log), rules, log.removals)


async def restored(log: Log, *partitions: int, rules: str = "a") -> WaitingTable:
    made = table(log, rules)
    await made.restore(partitions or (0, 1))
    return made


async def test_what_is_kept_is_there_after_a_restart_for_the_partitions_that_are_read() -> None:
    log = Log()
    before = await restored(log)
    await before.keep({FIRST: {"a_log": 2}, SECOND: {"b": 1}, OTHER: {"a_log": 3}}, ())
    assert len((await restored(log)).index) == 3
    after = await restored(log, 1)
    assert after.take(150, 9, 1) == [OTHER]
    assert after.since(OTHER) == 100


async def test_an_entry_is_taken_when_it_is_due_and_once_in_an_epoch() -> None:
    waiting = await restored(Log())
    await waiting.keep({FIRST: {"a": 1}, SECOND: {"a": 1}, Due(HELD, 0, 8): {"a": 1}}, ())
    assert waiting.take(99, 9, 1) == []
    assert waiting.take(100, 9, 1) == [FIRST]
    assert waiting.take(300, 9, 1) == [SECOND]
    assert waiting.take(300, 9, 1) == []
    assert waiting.take(300, 9, 2) == [FIRST, SECOND]
    waiting.give_back([SECOND])
    assert waiting.take(300, 9, 2) == [SECOND]


async def test_what_was_released_is_removed_for_good() -> None:
    log = Log()
    waiting = await restored(log)
    await waiting.keep({FIRST: {"a": 1}, OTHER: {"a": 1}}, ())
    waiting.take(100, 9, 1)
    await waiting.keep({}, [FIRST])
    assert waiting.take(300, 9, 2) == [OTHER]
    assert (await restored(log)).take(300, 9, 1) == [OTHER]


async def test_what_is_still_not_due_is_kept() -> None:
    """As after a clock that went back."""
    log = Log()
    waiting = await restored(log)
    await waiting.keep({FIRST: {"a": 1}}, ())
    waiting.take(100, 9, 1)
    await waiting.keep({FIRST: {"a": 1}}, [FIRST])
    assert waiting.take(100, 9, 1) == [FIRST]
    assert len(log.sent) == 1


async def test_new_entries_are_sent_before_old_ones_are_removed() -> None:
    log = Log()
    waiting = await restored(log)
    await waiting.keep({FIRST: {"a": 1}}, ())
    waiting.take(100, 9, 1)
    await waiting.keep({SECOND: {"a": 1}}, [FIRST])
    assert log.sent[1:] == [(SECOND.key, {"rules": "a", "datasets": {"a": 1}}), (FIRST.key, None)]


async def test_entries_of_other_rules_are_taken_at_once_and_as_a_whole() -> None:
    log = Log()
    held = Due(HELD, 0, 8)
    await (await restored(log)).keep({SECOND: {"a": 1}, held: {"a": 1}}, ())
    waiting = await restored(log, rules="b")
    assert set(waiting.take(0, 9, 1)) == {SECOND, held}
    assert waiting.since(SECOND) == 0
    await waiting.keep({SECOND: {"a": 1}}, [SECOND, held])  # now an entry of these rules
    assert waiting.take(0, 9, 1) == []
    assert waiting.since(SECOND) == 200
    assert (await restored(log, rules="b")).take(0, 9, 1) == []


async def test_changes_while_the_changelog_is_read_are_kept() -> None:
    log = Log()
    await (await restored(log)).keep({FIRST: {"a": 1}}, ())
    waiting = table(log)
    read = dict(log.latest)
    await waiting.keep({SECOND: {"a": 1}}, [FIRST])
    log.latest = read
    assert waiting.take(300, 9, 1) == []  # not restored yet
    await waiting.restore((0, 1))
    assert waiting.take(300, 9, 1) == [SECOND]


async def test_an_entry_whose_value_is_bad_is_looked_at_again() -> None:
    log = Log()
    log.latest = {orjson.dumps(SECOND.key): b"bad", b"bad": b"{}", orjson.dumps("1-2"): b"{}"}
    with capture_logs() as logs:
        waiting = await restored(log)
    assert waiting.take(0, 9, 1) == [SECOND]
    assert [line["log_level"] for line in logs].count("error") == 2


async def test_nothing_is_known_after_a_revocation() -> None:
    waiting = await restored(Log())
    await waiting.keep({FIRST: {"a": 1}}, ())
    waiting.revoke()
    assert waiting.take(300, 9, 1) == []
    await waiting.restore((0,))
    assert waiting.take(300, 9, 1) == [FIRST]


async def test_a_type_without_a_rule_is_kept_once_for_these_rules() -> None:
    log = Log()
    waiting = await restored(log)
    await waiting.keep({}, (), {"b", "a"})
    await waiting.keep({}, (), {"a"})
    assert sorted(log.sent) == [("no-rule/a", {"rules": "a"}), ("no-rule/b", {"rules": "a"})]
    again = await restored(log)
    assert again.without_rule == ["a", "b"]
    await again.keep({}, (), {"a", "b"})
    assert len(log.sent) == 2
    assert (await restored(log, rules="other")).without_rule == []
    await (await restored(log, rules="other")).keep({}, (), {"a"})
    assert log.sent[2:] == [("no-rule/a", {"rules": "other"})]


async def test_what_was_withdrawn_is_known_once_the_table_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_table, "RESTORED_WITHIN", 0.01)
    log = Log()
    withdrawn = WithdrawnDataset(uuid4()), WithdrawnRun("a/run")
    log.latest = {orjson.dumps(each.key): b"{}" for each in withdrawn}
    waiting = table(log)
    with pytest.raises(RetryableError, match="what was withdrawn is not known"):
        await waiting.wait_restored()
    await waiting.restore((1,))
    await waiting.wait_restored()
    expected = Withdrawn({withdrawn[0].id}, {"a/run"})
    assert waiting.withdrawn == expected
    waiting.revoke()
    assert waiting.withdrawn == expected  # for windows that are being written
    with pytest.raises(RetryableError):
        await waiting.wait_restored()


async def test_what_is_withdrawn_after_that_is_known_once_it_is_looked_for() -> None:
    log = Log()
    waiting = await restored(log)
    before = waiting.withdrawn
    await waiting.keep({FIRST: {"a": 1}}, ())
    log.latest[orjson.dumps(WithdrawnRun("a/run").key)] = b"{}"
    log.number = 1
    await waiting.wait_restored()
    assert waiting.withdrawn == Withdrawn(number=0)
    await asyncio.gather(*(waiting.wait_restored(looks_again=True) for _ in range(3)))
    assert waiting.withdrawn == Withdrawn(runs={"a/run"}, number=1)
    assert before == Withdrawn()  # a window that was prepared with it must not be written
    assert waiting.take(100, 9, 1) == [FIRST]


async def test_a_number_counts_only_what_is_read_after_it() -> None:
    """What is withdrawn while the changelog is read may be missing, and is not counted."""
    log = Log()

    async def withdraw_then_read() -> dict[bytes, bytes | None]:
        read = dict(log.latest)
        log.latest[orjson.dumps(WithdrawnRun("a/run").key)] = b"{}"
        log.number = 1
        return read

    log.read_beside = withdraw_then_read  # type: ignore[method-assign]
    assert (await restored(log)).withdrawn == Withdrawn(number=0)
