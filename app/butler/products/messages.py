"""Divide what a window has written into messages of the product log, each within the limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import orjson
from lsst.daf.butler import DataCoordinate
from lsst.utils.iteration import chunk_iterable

from app.butler.products.contents import WrittenProducts
from app.butler.products.related_keys import RecordId
from app.butler.products.window_files import ProductFiles, Section
from models.product import Products

__all__ = ["product_messages"]

_Part: TypeAlias = tuple[Section, Sequence[ProductFiles]]
"""What one message has of a section."""

#: By how many bytes the numbers of a batch's messages may make a message larger.
_NUMBERS = 20


def product_messages(
    products: WrittenProducts, batch_id: UUID, committed_at: datetime, limit: int
) -> list[tuple[str, bytes]]:
    """Return the messages of a window.

    Each has the dimension records and dataset types that its own datasets need.

    Parameters
    ----------
    products : `WrittenProducts`
        What the window has written.
    batch_id : `uuid.UUID`
        The window's batch.
    committed_at : `datetime.datetime`
        When that was committed (UTC).
    limit : `int`
        Largest size of a message, in bytes.  What stays together may make one larger.

    Returns
    -------
    messages : `list` [`tuple` [`str`, `bytes`]]
        The run of each message, and the message.
    """
    batch = _Batch(products, str(batch_id), committed_at.isoformat(timespec="microseconds"))
    parts = [
        found
        for section in products.sections
        for found in batch.divided((section, section.files), limit)
    ]
    if len(parts) == 1:
        return [(section.run, value) for (section, _), value in parts]
    return [
        (part[0].run, batch.encoded(part, sequence, len(parts)))
        for sequence, (part, _) in enumerate(parts)
    ]


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all messages of a window have in common."""

    products: WrittenProducts
    batch_id: str
    committed_at: str

    def divided(self, part: _Part, limit: int) -> Iterator[tuple[_Part, bytes]]:
        """Divide a part as long as its message is too large; each comes as the only message.

        All datasets of an artifact stay together, unless they alone are too large.
        """
        section, files = part
        value = self.encoded(part, 0, 1)
        if len(value) + _NUMBERS > limit and len(files) == 1:
            files = files[0].parts
        if len(value) + _NUMBERS <= limit or not files:
            yield part, value
            return
        number = min(len(files), math.ceil((len(value) + _NUMBERS) / limit))
        for some in chunk_iterable(files, math.ceil(len(files) / number)):
            yield from self.divided((section, some), limit)

    def encoded(self, part: _Part, sequence: int, number: int) -> bytes:
        """Return the message of a part."""
        section, files = part
        products = self.products
        data_ids = {id(data_id): data_id for file in files for data_id in file.data_ids}
        names = dict.fromkeys([name for file in files for name in file.dataset_types])
        keys = _needed(products, data_ids.values())
        positions = products.chain_positions
        return Products(
            batch_id=self.batch_id,
            sequence=sequence,
            records_in_batch=number,
            committed_at=self.committed_at,
            universe=products.universe,
            datastore=section.datastore,
            run=section.run,
            chains=sorted(section.chains),
            chain_positions={
                chain: positions[chain, section.run]
                for chain in sorted(section.chains)
                if (chain, section.run) in positions
            },
            dimension_records=_fragments(products.records[key] for key in keys),
            dataset_types=_fragments(products.dataset_types[name] for name in names),
            datasets=_fragments(file.content for file in files),
        ).encode()


def _needed(products: WrittenProducts, data_ids: Iterable[DataCoordinate]) -> Iterable[RecordId]:
    """Return the keys of the records that some data IDs need, each once."""
    return dict.fromkeys(key for data_id in data_ids for key in products.needed[data_id])


def _fragments(serialized: Iterable[bytes]) -> list[orjson.Fragment]:
    return [orjson.Fragment(each) for each in serialized]
