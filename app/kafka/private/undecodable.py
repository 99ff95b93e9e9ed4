"""Hands over messages that aiokafka cannot decode, instead of an error.

Brokers check a batch less strictly than aiokafka: Apache Kafka 4.1 takes a header whose name is not
UTF-8, a bit in the attributes of a message that nobody uses, and bytes behind the end of a
compressed batch.  aiokafka raises an error, again at each attempt, so that the message would end
every worker that reads its partition.  Here it becomes a message whose value is `Undecodable`; the
others of its batch are read (rule no-message-ends-a-worker).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

from app.butler.descriptions import describe_with_type
from app.intake.received import Undecodable
from app.kafka.private.decompression import uncompressed

__all__ = ["TolerantRecords"]

#: The bytes of a batch before what its length counts, and the offset of that length.
_OVERHEAD = 12
_LENGTH_AT = 8


class TolerantRecords:
    """The batches that a fetch has returned for a partition, as aiokafka's `MemoryRecords`.

    Parameters
    ----------
    data : `bytes`
        The batches, one after another; the last one may be cut off.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._records = MemoryRecords(data)
        self._start = 0

    def size_in_bytes(self) -> int:
        """Return the size of all batches."""
        return len(self._data)

    def has_next(self) -> bool:
        """Return whether there is another batch."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """Return the next batch; one without messages, such as a marker, is aiokafka's own."""
        (length,) = struct.unpack_from(">i", self._data, self._start + _LENGTH_AT)
        start, self._start = self._start, self._start + _OVERHEAD + length
        batch = self._records.next_batch()
        return batch if batch.is_control_batch else _Batch(batch, self._data[start : self._start])


class _Record(NamedTuple):
    """A message, with the attributes that aiokafka's own have."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    checksum: None = None


class _Batch:
    """A batch of messages, with the attributes of aiokafka's own."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data
        self._has_right_checksum = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def validate_crc(self) -> bool:
        """Compute the checksum; if it is wrong, the batch has one message, which says so."""
        self._has_right_checksum = self._batch.validate_crc()
        return True

    def __iter__(self) -> Iterator[Any]:
        """Decode the messages; aiokafka passes over those that it was given before.

        No error is held while a message is handed over: an error holds what it was raised for.
        """
        if not self._has_right_checksum:
            yield self._rest("the checksum of the batch is wrong")
            return
        reason = ""
        try:
            data = uncompressed(self._data)
        except Exception as exc:  # noqa: BLE001 - whatever the codecs raise
            reason = describe_with_type(exc)
        if reason:
            yield self._rest(reason)
        else:
            yield from self._decoded(data)

    def _decoded(self, data: memoryview) -> Iterator[Any]:
        is_complete = False
        with suppress(Exception):  # whatever aiokafka raises
            yield from self._batch if data is self._data else MemoryRecords(data).next_batch()
            is_complete = True
        if not is_complete:
            yield from self._decoded_one_by_one(data)

    def _decoded_one_by_one(self, data: memoryview) -> Iterator[_Record]:
        try:
            own = _DefaultRecordBatchPy(data)
            buffer, at = own._buffer, own._pos
            for _ in range(own._num_records):
                record, at = _read(own, buffer, at)
                yield record
        except Exception as exc:  # noqa: BLE001 - whatever is read
            yield self._rest(describe_with_type(exc))

    def _rest(self, reason: str) -> _Record:
        """Return one message in place of those that cannot be told apart.

        It has the last offset of the batch, since reading may have started within it.
        """
        first, last = self._batch.base_offset, self._batch.next_offset - 1
        reason = f"offsets {first} to {last}, which were sent in one batch: {reason}"
        value = Undecodable(bytes(self._data), reason)
        return _Record(last, getattr(self._batch, "max_timestamp", 0), 0, None, value)


def _read(batch: _DefaultRecordBatchPy, buffer: bytearray, at: int) -> tuple[_Record, int]:
    """Read a message, and return it with the index of the next one.

    Raises
    ------
    CorruptRecordException, IndexError, ValueError
        If its length is wrong, so that the next one cannot be found either.
    """
    length, start = decode_varint(buffer, at)
    end = start + length
    if length <= 0 or end > len(buffer):
        raise CorruptRecordException(f"a message has a length of {length} bytes")
    fields = _Fields(buffer, start + 1, end)  # the first byte are attributes that nobody uses
    delta, offset = fields.number(), batch.base_offset + fields.number()
    timestamp = batch.max_timestamp if batch.timestamp_type else batch.first_timestamp + delta
    key = fields.content()
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    try:
        value = fields.content()
        headers = fields.headers()
    except (CorruptRecordException, IndexError, ValueError) as exc:
        value = Undecodable(value or b"", describe_with_type(exc))
    return _Record(offset, timestamp, batch.timestamp_type, key, value, headers), end


class _Fields:
    """Reads the fields of a message, which lie between two indices of a buffer."""

    def __init__(self, buffer: bytearray, at: int, end: int) -> None:
        self._buffer = buffer
        self._at = at
        self._end = end

    def number(self) -> int:
        """Read a number of variable length."""
        number, self._at = decode_varint(self._buffer, self._at)
        return int(number)

    def content(self) -> bytes | None:
        """Read bytes that have their length before them; a negative one means `None`."""
        length = self.number()
        if length < 0:
            return None
        start, self._at = self._at, self._at + length
        if self._at > self._end:
            raise CorruptRecordException("a part of the message is longer than the message")
        return bytes(self._buffer[start : self._at])

    def headers(self) -> list[tuple[str, bytes | None]]:
        """Read the headers.

        Raises
        ------
        UnicodeDecodeError
            If the name of one is not UTF-8.
        """
        found = []
        for _ in range(self.number()):
            name = self.content() or b""
            found.append((name.decode(), self.content()))
        if self._at != self._end:
            raise CorruptRecordException("the message has bytes behind its headers")
        return found
