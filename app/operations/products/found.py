"""Datasets as a repository has them, and how one differs from the same in another repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import orjson
from lsst.daf.butler import DatasetRef

from app.butler.events.parsed import ParsedEvent
from app.butler.products.contents import WrittenProducts
from app.butler.products.stored_products import StoredProducts

__all__ = ["Found", "difference_of"]


@dataclass(frozen=True, slots=True)
class Found:
    """Some datasets of a repository.

    Attributes
    ----------
    products : `WrittenProducts`
        The datasets, with all that they need.
    datasets : `dict` [`uuid.UUID`, `tuple`]
        Each dataset with the content of its file, as in a message of the product log.
    """

    products: WrittenProducts
    datasets: dict[UUID, tuple[DatasetRef, Mapping[str, object]]]

    @classmethod
    def of(cls, stored: StoredProducts, event: ParsedEvent) -> Found:
        """Return some datasets of a repository with all that they need."""
        products = stored.products(event)
        refs = {str(ref.id): ref for ref in event.refs}
        datasets = {
            refs[dataset_id].id: (refs[dataset_id], content)
            for section in products.sections
            for files in section.files
            for content in orjson.loads(b"[%b]" % files.content)
            for dataset_id in content["refs"]
        }
        return cls(products, datasets)


def difference_of(dataset_id: UUID, source: Found, target: Found) -> str:
    """Return how a dataset of a repository differs from its source's; nothing if it does not.

    The path of its file may differ.
    """
    return next(_differences(dataset_id, source, target), "")


def _differences(dataset_id: UUID, source: Found, target: Found) -> Iterator[str]:
    (ref, file), (own, own_file) = source.datasets[dataset_id], target.datasets[dataset_id]
    name = ref.datasetType.name
    if (own.run, own.datasetType.name) != (ref.run, name):
        yield f"it is {own.datasetType.name} in {own.run} there"
        return
    if own.dataId.required_values != ref.dataId.required_values:
        yield f"its data ID is {dict(own.dataId.required)} there"
        return
    if source.products.dataset_types[name] != target.products.dataset_types[name]:
        yield "the definition of its dataset type"
    for field in ("formatter", "storage_class"):
        if file.get(field) != own_file.get(field):
            yield f"the {field} of its file"
    for field in ("size", "checksum"):
        values = file.get(field), own_file.get(field)
        if None not in values and values[0] != values[1]:
            yield f"the {field} of its file"
    for key in source.products.needed[ref.dataId]:
        stored = target.products.records.get(key)
        if stored is not None and stored != source.products.records[key]:
            yield f"the dimension record {key[0]} {', '.join(map(str, key[1]))}"
