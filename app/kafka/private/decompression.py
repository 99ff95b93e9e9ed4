"""Decompresses batches of messages, up to a limit (rule bounded-memory).

A batch of 20 kB can have 600 MiB.  aiokafka decompresses all of it, whatever comes out, and what is
fetched ahead is counted as it was sent.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import cramjam

__all__ = ["LARGEST_BATCH", "uncompressed"]

#: Most bytes of a decompressed batch.  Clients close a batch at 1 MB, or make one of a single
#: message, which has 10 MiB at most.
LARGEST_BATCH = 64 * 1024 * 1024

#: Size of the first buffer: most batches fit, and a larger one takes time to make.
_USUAL = 1024 * 1024

#: In a batch: its length, and what is counted in it; its attributes, and its messages.
_LENGTH_AT, _COUNTED_FROM, _ATTRIBUTES_AT, _MESSAGES_AT = 8, 12, 21, 61
_CODEC = 0b111

#: What the snappy of Java writes before its blocks: a mark and two versions.
_XERIAL, _XERIAL_SIZE = b"\x82SNAPPY\0", 16


def uncompressed(batch: memoryview) -> memoryview:
    """Return a batch without compression; its checksum is not made new.

    Parameters
    ----------
    batch : `memoryview`
        A batch in the format of Kafka since version 0.11.

    Raises
    ------
    ValueError
        If it has more than `LARGEST_BATCH` when it is decompressed, or an unknown codec.
    zlib.error, cramjam.DecompressionError, struct.error
        If it cannot be decompressed.
    """
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
    codec = attributes & _CODEC
    if not codec:
        return batch
    if codec not in _CODECS:
        raise ValueError(f"there is no compression {codec}")
    messages = _CODECS[codec](bytes(batch[_MESSAGES_AT:]))
    made = bytearray(batch[:_MESSAGES_AT]) + messages
    struct.pack_into(">i", made, _LENGTH_AT, len(made) - _COUNTED_FROM)
    struct.pack_into(">h", made, _ATTRIBUTES_AT, attributes & ~_CODEC)
    return memoryview(made)


def _too_large() -> ValueError:
    return ValueError(f"the batch has more than {LARGEST_BATCH} bytes when it is decompressed")


def _gzip(data: bytes) -> bytes:
    """Decompress members of gzip, one after another; brokers pass over what follows them, too."""
    found = bytearray()
    is_first = True
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            content = member.decompress(data, LARGEST_BATCH - len(found) + 1)
        except zlib.error:
            if is_first:
                raise
            break
        if len(found) + len(content) > LARGEST_BATCH:
            raise _too_large()
        if not member.eof:
            if is_first:
                raise ValueError("the compressed messages are cut off")
            break
        found += content
        data, is_first = member.unused_data, False
    return bytes(found)


def _snappy(data: bytes) -> bytes:
    blocks = list(_snappy_blocks(data))
    if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > LARGEST_BATCH:
        raise _too_large()
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _snappy_blocks(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_XERIAL):
        yield data
        return
    at = _XERIAL_SIZE
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        if not 0 < size <= len(data) - at - 4:
            raise ValueError("a block of the compressed messages has a wrong length")
        at += 4 + size
        yield data[at - size : at]


def _into_buffer(decompress: Callable[[bytes, bytearray], int]) -> Callable[[bytes], bytes]:
    """Return a function that decompresses into a buffer, and so up to its size."""

    def bounded(data: bytes) -> bytes:
        try:
            return _within(decompress, data, _USUAL)
        except cramjam.DecompressionError:  # it may only be too large
            try:
                return _within(decompress, data, LARGEST_BATCH)
            except cramjam.DecompressionError as exc:
                if "whole buffer" in str(exc):  # the codecs say so in a text alone
                    raise _too_large() from exc
                raise

    return bounded


def _within(decompress: Callable[[bytes, bytearray], int], data: bytes, size: int) -> bytes:
    buffer = bytearray(size)
    try:
        return bytes(memoryview(buffer)[: decompress(data, buffer)])
    finally:
        buffer.clear()  # whoever holds an error holds the variables of this function


#: How each of Kafka's codecs is decompressed.
_CODECS: dict[int, Callable[[bytes], bytes]] = {
    1: _gzip,
    2: _snappy,
    3: _into_buffer(cramjam.lz4.decompress_into),
    4: _into_buffer(cramjam.zstd.decompress_into),
}
