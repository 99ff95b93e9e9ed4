"""What the consumer fetches ahead is limited, with aiokafka's own fetcher and without a broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from app.intake.fetch_ahead import FetchAhead
from app.kafka.private.fetch_limit import FetchLimit

TOPIC = "pp-output"
INPUT = TP(TOPIC, 0)
CHANGELOG = TP("changelog", 0)
LIMIT = 1_000_000


class Records:
    """aiokafka's result of a fetch, as far as the limit looks at it."""

    next_fetch_offset = 0

    def __init__(self, size: int) -> None:
        self._records = SimpleNamespace(size_in_bytes=lambda: size)


def fetched(size: int) -> FetchResult:
    return FetchResult(INPUT, assignment=None, partition_records=Records(size), backoff=0)


def record(offset: int, size: int) -> Any:
    return ConsumerRecord(TOPIC, 0, offset, 0, 0, None, b"x" * size, None, 0, size, headers=())


class Fetcher:
    """A fetcher that has a request for the input topic and for a changelog to send."""

    def __init__(self) -> None:
        self._records: dict[TP, Any] = {}
        self._fetch_max_bytes = 50_000_000

    def _get_actions_per_node(self, _: object) -> tuple[Any, ...]:
        topics = [(TOPIC, [(0, 0, 0)]), ("changelog", [(0, 0, 0)])]
        return [(1, FetchRequest(0, 0, 0, 0, topics))], {}, 0.2, False, []


@pytest.fixture
def ahead() -> FetchAhead:
    return FetchAhead(LIMIT)


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher()


@pytest.fixture
def limit(ahead: FetchAhead, fetcher: Fetcher) -> FetchLimit:
    made = FetchLimit(TOPIC, ahead)
    consumer: Any = SimpleNamespace(_fetcher=fetcher)
    made.apply(consumer)
    return made


def topics_asked(fetcher: Fetcher) -> list[str]:
    requests, *_ = fetcher._get_actions_per_node(None)
    return [name for _, request in requests for name, _ in request.topics]


@pytest.mark.usefixtures("limit")
def test_the_input_is_not_fetched_while_enough_is_buffered(fetcher: Fetcher) -> None:
    """Other topics are: the input topic may wait for the recovery of a table."""
    for number in range(9):
        fetcher._records[TP(TOPIC, number)] = fetched(LIMIT // 10)
    assert topics_asked(fetcher) == [TOPIC, "changelog"]
    fetcher._records[TP(TOPIC, 9)] = fetched(LIMIT // 10)
    assert topics_asked(fetcher) == ["changelog"]
    fetcher._records.clear()
    assert topics_asked(fetcher) == [TOPIC, "changelog"]


@pytest.mark.usefixtures("limit")
def test_one_fetch_is_a_part_of_the_limit(fetcher: Fetcher) -> None:
    assert fetcher._fetch_max_bytes == LIMIT // 4


async def test_faust_takes_over_no_more_messages_than_the_limit_allows(
    limit: FetchLimit, ahead: FetchAhead
) -> None:
    offsets = iter(range(100))

    async def fetch(partitions: set[TP], wait: float, most: int) -> dict[TP, list[Any]]:
        assert most == 1
        tp = INPUT if INPUT in partitions else CHANGELOG
        return {tp: [record(next(offsets), LIMIT // 10)]}

    taken = [await limit.take_over(fetch, {INPUT, CHANGELOG}, 1.0, 64) for _ in range(5)]
    assert [len(found.get(INPUT, ())) for found in taken] == [3, 3, 3, 3, 0]
    assert LIMIT <= ahead.bytes < LIMIT * 1.3
    assert set(taken[-1]) == {CHANGELOG}
    ahead.forget()
    assert set(await limit.take_over(fetch, {INPUT, CHANGELOG}, 1.0, 64)) == {INPUT}


async def test_no_more_messages_are_taken_over_than_asked_for(limit: FetchLimit) -> None:
    async def fetch(partitions: set[TP], wait: float, most: int) -> dict[TP, list[Any]]:
        return {INPUT: [record(0, 10)]}

    assert len((await limit.take_over(fetch, {INPUT}, 1.0, 7))[INPUT]) == 7


async def test_an_error_of_another_partition_does_not_lose_what_was_taken_over(
    limit: FetchLimit, fetcher: Fetcher
) -> None:
    """aiokafka raises it in the next call."""
    fetcher._records[TP(TOPIC, 1)] = FetchError(error=ValueError(), backoff=0)
    calls = 0

    async def fetch(partitions: set[TP], wait: float, most: int) -> dict[TP, list[Any]]:
        nonlocal calls
        calls += 1
        return {INPUT: [record(0, 10)]}

    assert len((await limit.take_over(fetch, {INPUT}, 1.0, 64))[INPUT]) == 1
    assert calls == 1
