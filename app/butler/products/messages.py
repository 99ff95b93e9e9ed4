"""Divide what a window has written into messages of the product log, each within the limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from typing import TypeAlias
from uuid import UUID

import orjson
from lsst.daf.butler import DataCoordinate
from lsst.utils.iteration import chunk_iterable

from app.butler.products.contents import ProductFile, Section, WrittenProducts
from app.butler.products.related_keys import RecordId
from models.product import Products

__all__ = ["product_messages"]

_Part: TypeAlias = tuple[Section, Sequence[ProductFile]]
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
        Largest size of a message, in bytes.  A single dataset may make one larger.

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
        if len(files) == 1 or len(value) + _NUMBERS <= limit:
            yield part, value
            return
        artifacts = [[*members] for _, members in groupby(files, lambda each: each.content["path"])]
        if len(artifacts) == 1:
            artifacts = [[_marked(each)] for each in files]
        number = min(len(artifacts), math.ceil((len(value) + _NUMBERS) / limit))
        for some in chunk_iterable(artifacts, math.ceil(len(artifacts) / number)):
            yield from self.divided((section, [*chain.from_iterable(some)]), limit)

    def encoded(self, part: _Part, sequence: int, number: int) -> bytes:
        """Return the message of a part."""
        section, files = part
        products = self.products
        datasets = [ref for file in files for ref in file.datasets]
        data_ids = {id(ref.dataId): ref.dataId for ref in datasets}
        kinds = {id(ref.datasetType): ref.datasetType.name for ref in datasets}
        keys = _needed(products, data_ids.values())
        return Products(
            batch_id=self.batch_id,
            sequence=sequence,
            records_in_batch=number,
            committed_at=self.committed_at,
            universe=products.universe,
            datastore=section.datastore,
            run=section.run,
            chains=sorted(section.chains),
            dimension_records=_fragments(products.records[key] for key in keys),
            dataset_types=_fragments(
                products.dataset_types[name] for name in dict.fromkeys(kinds.values())
            ),
            datasets=[file.content for file in files],
        ).encode()


def _marked(file: ProductFile) -> ProductFile:
    """Return a member that says that the rest of its artifact is in other messages."""
    return ProductFile({**file.content, "is_part": True}, file.datasets)


def _needed(products: WrittenProducts, data_ids: Iterable[DataCoordinate]) -> Iterable[RecordId]:
    """Return the keys of the records that some data IDs need, each once."""
    return dict.fromkeys(key for data_id in data_ids for key in products.needed[data_id])


def _fragments(serialized: Iterable[bytes]) -> list[orjson.Fragment]:
    return [orjson.Fragment(each) for each in serialized]
