"""Batches of messages made by hand, which no Kafka client would send."""

import asyncio
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c, encode_varint

__all__ = ["RawRecord", "batch", "send_batch", "send_batches"]


@dataclass(frozen=True)
class RawRecord:
    """A message of a batch.

    Parameters
    ----------
    value, key
        Its content.
    headers
        The bytes of each header's name and value; a name need not be text.
    attributes
        A byte that Kafka does not use.
    """

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    attributes: int = 0

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the message, the given one of its batch."""
        body = bytearray([self.attributes])
        for number in (0, index):  # of the timestamp and the offset, the difference to the batch's
            encode_varint(number, body.append)
        _append(body, self.key)
        _append(body, self.value)
        encode_varint(len(self.headers), body.append)
        for name, value in self.headers:
            _append(body, name)
            _append(body, value)
        length = bytearray()
        encode_varint(len(body), length.append)
        return bytes(length + body)


def batch(*records: RawRecord, codec: int = 0, compress: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return the bytes of a batch, with a right checksum.

    Parameters
    ----------
    records
        Its messages.
    codec
        Kafka's number of the compression, such as 1 for gzip.
    compress
        Compresses the messages; it may do so wrongly.
    """
    now = int(time.time() * 1000)
    content = b"".join(record.encoded(index) for index, record in enumerate(records))
    checked = struct.pack(
        ">hiqqqhii", codec, len(records) - 1, now, now, -1, -1, -1, len(records)
    ) + compress(content)
    rest = struct.pack(">ibI", -1, 2, calc_crc32c(bytearray(checked))) + checked
    return struct.pack(">qi", 0, len(rest)) + rest


def send_batch(bootstrap: str, topic: str, content: bytes) -> None:
    """Send a batch as it is to partition 0.

    Raises
    ------
    aiokafka.errors.KafkaError
        The broker refused it.
    """
    send_batches(bootstrap, topic, [content])


def send_batches(bootstrap: str, topic: str, batches: Iterable[bytes]) -> None:
    """Send batches one after another (see `send_batch`)."""
    asyncio.run(_send(bootstrap, topic, batches))


async def _send(bootstrap: str, topic: str, batches: Iterable[bytes]) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        node = client.cluster.leader_for_partition(TopicPartition(topic, 0))
        for content in batches:
            request: Any = ProduceRequest(
                transactional_id=None,
                required_acks=-1,
                timeout=20_000,
                topics=[(topic, [(0, content)])],
            )
            answer = await client.send(node, request)
            ((_, ((_, error, *_more),)),) = answer.topics
            if error:
                raise for_code(error)(answer.topics)
    finally:
        await client.close()


def _append(body: bytearray, content: bytes | None) -> None:
    """Append content with its length before it."""
    encode_varint(-1 if content is None else len(content), body.append)
    body += content or b""
