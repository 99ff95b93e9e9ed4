"""Fill a repository from messages of the product log, with public names of the Butler only."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionRecord,
    FileDataset,
    SerializedDatasetType,
    SerializedDimensionRecord,
)

from app.butler.repository.chains import MADE_BY
from models.product import Products

__all__ = ["import_products"]


def import_products(
    butler: Butler, messages: Iterable[Products], source: Path, *, refers: bool = False
) -> None:
    """Write what messages have into a repository; what is there already stays.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository; its datastore's root is a folder.
    messages : `~collections.abc.Iterable` [`Products`]
        The messages.
    source : `pathlib.Path`
        The root of the datastore that the messages' paths are relative to.
    refers : `bool`, optional
        Whether the repository refers to the files where they are, and copies none.
    """
    for message in messages:
        _insert_records(butler, message)
        for given in message.dataset_types:
            kind = SerializedDatasetType.model_validate(given)
            butler.registry.registerDatasetType(
                DatasetType.from_simple(kind, universe=butler.dimensions)
            )
        butler.collections.register(message.run)
        _ingest(butler, message, source, refers=refers)
        for chain in message.chains:
            if butler.collections.register(chain, CollectionType.CHAINED, MADE_BY):
                butler.collections.redefine_chain(chain, [])
            if message.run not in butler.collections.get_info(chain).children:
                butler.collections.prepend_chain(chain, message.run)


def _insert_records(butler: Butler, message: Products) -> None:
    universe = butler.dimensions
    records = [
        DimensionRecord.from_simple(
            SerializedDimensionRecord.model_validate(given), universe=universe
        )
        for given in message.dimension_records
    ]
    for element in universe.sorted({record.definition.name for record in records}):
        own = [record for record in records if record.definition == element]
        butler.registry.insertDimensionData(element, *own, skip_existing=True)


def _ingest(butler: Butler, message: Products, source: Path, *, refers: bool) -> None:
    root = Path(butler._datastore.root.ospath)  # type: ignore[attr-defined]
    files = []
    for file in message.datasets:
        target = root / file["path"]
        if not refers:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file["path"], target)
        refs = []
        for dataset_id, given in file["refs"].items():
            kind = butler.get_dataset_type(given["dataset_type_name"])
            data_id = DataCoordinate.standardize(given["data_id"], dimensions=kind.dimensions)
            refs.append(DatasetRef(kind, data_id, given["run"], id=UUID(dataset_id)))
        path = str(source / file["path"]) if refers else file["path"]
        files.append(FileDataset(path, refs, formatter=file["formatter"]))
    transfer = "direct" if refers else None
    butler.ingest(*files, transfer=transfer, skip_existing=True, record_validation_info=False)
