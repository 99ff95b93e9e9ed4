"""Divide what a window has written into messages of the product log, each within the limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from app.butler.events.parsed import RecordKey
from app.butler.products.contents import ProductFile, Section, WrittenProducts
from models.product import Products

__all__ = ["product_messages"]

#: Bytes of a message besides its records, dataset types, artifacts and names.
_FIXED = 1024


@dataclass(slots=True)
class _Part:
    """What one message has of a section; a data ID is known by the identity of its object."""

    section: Section
    size: int
    files: list[ProductFile] = field(default_factory=list)
    records: dict[RecordKey, None] = field(default_factory=dict)
    dataset_types: dict[str, None] = field(default_factory=dict)
    data_ids: set[int] = field(default_factory=set)


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
        Largest size of a message, in bytes.  A single artifact may make one larger.

    Returns
    -------
    messages : `list` [`tuple` [`str`, `bytes`]]
        The run of each message, and the message.
    """
    parts = [part for section in products.sections for part in _parts(products, section, limit)]
    return [
        (
            part.section.run,
            Products(
                batch_id=str(batch_id),
                sequence=sequence,
                records_in_batch=len(parts),
                committed_at=committed_at.isoformat(timespec="microseconds"),
                universe=products.universe,
                datastore=part.section.datastore,
                run=part.section.run,
                chains=sorted(part.section.chains),
                dimension_records=_fragments(products.records[key] for key in part.records),
                dataset_types=_fragments(products.dataset_types[n] for n in part.dataset_types),
                datasets=_fragments(file.content for file in part.files),
            ).encode(),
        )
        for sequence, part in enumerate(parts)
    ]


def _parts(products: WrittenProducts, section: Section, limit: int) -> Iterator[_Part]:
    names = (section.run, section.datastore, *section.chains)
    start = _FIXED + sum(len(orjson.dumps(name)) + 1 for name in names)
    part = _Part(section, start)
    for file in section.files:
        added = _size_added(products, part, file)
        if part.files and part.size + added > limit:
            yield part
            part = _Part(section, start)
            added = _size_added(products, part, file)
        part.size += added
        part.files.append(file)
        part.dataset_types |= dict.fromkeys(file.dataset_types)
        for data_id in file.data_ids:
            if id(data_id) not in part.data_ids:
                part.data_ids.add(id(data_id))
                part.records |= dict.fromkeys(products.needed[data_id])
    yield part


def _size_added(products: WrittenProducts, part: _Part, file: ProductFile) -> int:
    """Return by how many bytes a file makes a message larger."""
    contents = [file.content]
    contents += [
        products.dataset_types[name]
        for name in file.dataset_types
        if name not in part.dataset_types
    ]
    new = [data_id for data_id in file.data_ids if id(data_id) not in part.data_ids]
    if new:
        keys = {key for data_id in new for key in products.needed[data_id]} - part.records.keys()
        contents += [products.records[key] for key in keys]
    return sum(map(len, contents)) + len(contents)


def _fragments(serialized: Iterable[bytes]) -> list[orjson.Fragment]:
    return [orjson.Fragment(each) for each in serialized]
