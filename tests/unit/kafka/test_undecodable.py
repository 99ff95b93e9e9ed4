"""Messages that aiokafka cannot decode are handed over, and the others of their batch too."""

from __future__ import annotations

import gc
import gzip
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
import pytest
from aiokafka.codec import lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from app.intake.received import Undecodable
from app.kafka.private.decompression import LARGEST_BATCH
from app.kafka.private.fetched_records import use_own_records
from tests.support.raw_batches import RawRecord, batch

GOOD = RawRecord(b"good", b"key", [(b"name", b"content")])
BAD_NAME = RawRecord(b"{}", b"key", [(b"\xff", b"content")])


def fetched(data: bytes, start: int = 0) -> Any:
    """Return what aiokafka's consumer makes of a fetch that starts at an offset."""
    use_own_records()
    return fetcher.PartitionRecords(
        TopicPartition("topic", 0),
        fetcher.MemoryRecords(data),
        [],
        start,
        None,
        None,
        check_crcs=True,
        isolation_level=1,
    )


def read(data: bytes, start: int = 0) -> list[Any]:
    """Return the messages of a fetch that starts at an offset."""
    return list(fetched(data, start))


def test_the_other_messages_of_a_batch_are_read() -> None:
    first, bad, last = read(batch(GOOD, BAD_NAME, GOOD))
    for each, offset in ((first, 0), (last, 2)):
        assert each.offset == offset
        assert (each.key, each.value, [*each.headers]) == (b"key", b"good", [("name", b"content")])
        assert not isinstance(each.value, Undecodable)
    assert (bad.offset, bad.key, bad.value) == (1, b"key", b"{}")
    assert isinstance(bad.value, Undecodable)
    assert "'utf-8' codec can't decode byte 0xff" in bad.value.reason


def test_attributes_that_nobody_uses_do_not_matter() -> None:
    values = [each.value for each in read(batch(GOOD, RawRecord(b"{}", attributes=0x80)))]
    assert values == [b"good", b"{}"]
    assert not any(isinstance(value, Undecodable) for value in values)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_batch_that_cannot_be_decompressed_is_one_message_wherever_reading_starts(
    start: int,
) -> None:
    data = batch(GOOD, GOOD, GOOD, codec=3, compress=lambda content: lz4_encode(content) + b"more")
    (only,) = read(data, start)
    assert only.offset == 2
    assert only.value == data
    reason = only.value.reason
    assert reason.startswith(
        "offsets 0 to 2, which were sent in one batch: DecompressionError: lz4"
    )


def test_a_wrong_checksum_is_no_error() -> None:
    data = batch(GOOD, GOOD)
    (only,) = read(data[:-1] + b"x")
    assert (only.offset, isinstance(only.value, Undecodable)) == (1, True)
    assert only.value.reason.endswith("the checksum of the batch is wrong")


def test_batches_after_a_bad_one_are_read() -> None:
    bad = batch(GOOD, codec=7)
    assert [each.value for each in read(bad + batch(GOOD))][-1:] == [bad]
    later = (1).to_bytes(8, "big") + batch(GOOD)[8:]
    assert [each.value for each in read(bad + later)] == [bad, b"good"]


CODECS = {
    "gzip": (1, gzip.compress),
    "gzip with more behind it": (1, lambda data: gzip.compress(data) + b"x"),
    "two members": (1, lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "snappy": (2, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "snappy of Java": (2, snappy_encode),
    "lz4": (3, lz4_encode),
    "zstd": (4, zstd_encode),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_compressed_batches_are_read(codec: str, size: int) -> None:
    number, compress = CODECS[codec]
    values = [b"x" * size, b"y" * size]
    data = batch(*map(RawRecord, values), codec=number, compress=compress)
    found = read(data)
    assert [each.value for each in found] == values
    assert not any(isinstance(each.value, Undecodable) for each in found)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "snappy of Java", "lz4", "zstd"])
def test_a_batch_that_is_too_large_is_not_decompressed(codec: str) -> None:
    """It has 100 MiB: reading it takes no more than the limit, and a buffer of that size."""
    number, compress = CODECS[codec]
    data = batch(*[RawRecord(b" " * (10 << 20))] * 10, codec=number, compress=compress)
    tracemalloc.start()
    (only,) = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert only.offset == 9
    assert only.value == data
    assert only.value.reason.endswith(
        "the batch has more than 67108864 bytes when it is decompressed"
    )
    assert peak < 2.2 * LARGEST_BATCH


@settings(max_examples=40)
@given(st.integers(1, 4), st.binary(max_size=200))
def test_any_bytes_are_no_error_for_a_codec(codec: int, data: bytes) -> None:
    (only,) = read(batch(GOOD, codec=codec, compress=lambda _: data))
    assert only.offset == 0


@given(st.binary(max_size=60), st.integers(0, 70))
def test_any_bytes_in_a_batch_are_read(odd: bytes, at: int) -> None:
    """Whatever is in it: offsets rise, and reading goes on behind it."""
    data = batch(GOOD, GOOD, compress=lambda content: content[:at] + odd + content[at:])
    offsets = [each.offset for each in read(data)]
    assert offsets == sorted(set(offsets))
    later = (2).to_bytes(8, "big") + batch(GOOD)[8:]
    found = read(data + later)
    assert found
    assert all(each.offset >= 2 or each.offset in offsets for each in found)


@pytest.fixture
def without_collections() -> Iterator[None]:
    """Reference cycles are kept until the next garbage collection, which may come late."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("size", [6, 10])
def test_what_was_fetched_is_freed_when_it_is_dropped(codec: str, size: int) -> None:
    """A consumer drops it wherever it is in it: that happens at a seek, and for a single message.

    A batch of 60 MiB is decompressed, one of 100 MiB is not.
    """
    number, compress = CODECS[codec]
    values = [b" " * (size << 20)] * 10
    data = batch(*map(RawRecord, values), codec=number, compress=compress)
    before, _ = tracemalloc.get_traced_memory()
    records = fetched(data)
    next(records)
    content = weakref.ref(records._records)
    del records
    assert content() is None
    after, _ = tracemalloc.get_traced_memory()
    assert after - before < 2**20


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize(
    "damage", [lambda data: data, lambda data: data[:20] + b"x" * 20], ids=["too large", "damaged"]
)
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_cannot_be_decompressed_holds_no_buffer_while_it_is_read(
    codec: str, damage: Callable[[bytes], bytes]
) -> None:
    number, compress = CODECS[codec]
    records = [RawRecord(b" " * (10 << 20))] * 10
    data = batch(*records, codec=number, compress=lambda content: damage(compress(content)))
    before, _ = tracemalloc.get_traced_memory()
    reading = fetched(data)
    only = next(reading)
    held, _ = tracemalloc.get_traced_memory()
    assert isinstance(only.value, Undecodable)
    assert held - before < 3 * len(data) + 2**20
