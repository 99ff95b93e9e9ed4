"""The `pp-output` event: the outputs that a pod has produced.

Its JSON Schema is generated from this module.  The fields after ``datasets`` are optional, so that
every version of the service understands every version of the pods.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid5

from lsst.daf.butler import DatasetRef, DimensionRecord
from lsst.resources import ResourcePath
from pydantic import BaseModel, ConfigDict

from butler_writer_client.export import Artifact

__all__ = [
    "DatasetRefFields",
    "DimensionRecordFields",
    "FileDatasetFields",
    "PromptOutput",
    "event_id_of",
    "json_schema",
]

#: Namespace of an event's id, a uuid5 of its datasets' ids.
_NAMESPACE = UUID("0a3f2b7e-6a52-4b0e-9c07-5d1f2c8e4b66")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class DimensionRecordFields(_Part):
    """A serialized dimension record (``lsst.daf.butler.SerializedDimensionRecord``)."""

    definition: str
    record: dict[str, Any]

    @classmethod
    def of(cls, record: DimensionRecord) -> DimensionRecordFields:
        """Serialize a dimension record."""
        return cls.model_construct(**record.to_simple().model_dump(mode="json"))


class DatasetRefFields(_Part):
    """A dataset ref in an event; its UUID is the key in ``FileDatasetFields.refs``."""

    dataset_type_name: str
    run: str
    data_id: dict[str, int | str]

    @classmethod
    def of(cls, ref: DatasetRef) -> DatasetRefFields:
        """Serialize a dataset ref, with the required values of its data ID."""
        return cls(
            dataset_type_name=ref.datasetType.name,
            run=ref.run,
            data_id=dict(ref.dataId.required),
        )


class FileDatasetFields(_Part):
    """One artifact and the refs of its datasets, all of one run.

    ``size`` is in bytes, ``checksum`` the hexadecimal BLAKE2b; both are optional.
    """

    refs: dict[str, DatasetRefFields]
    path: str
    formatter: str | None
    size: int | None = None
    checksum: str | None = None

    @classmethod
    def of(cls, artifact: Artifact, *, digest: bool = False) -> FileDatasetFields:
        """Serialize an artifact; on request, read the file for its size and checksum."""
        size, checksum = _digest(artifact.source) if digest else (None, None)
        return cls(
            refs={str(ref.id): DatasetRefFields.of(ref) for ref in artifact.refs},
            path=artifact.path,
            formatter=artifact.formatter,
            size=size,
            checksum=checksum,
        )


class PromptOutput(_Part):
    """The outputs of one Prompt Processing pod, which the service writes into the Butler.

    Attributes
    ----------
    type : `str`
        Always ``"pp-output"``.
    dimension_records : `list` [`DimensionRecordFields`]
        The dimension records that the datasets refer to, in any order.
    datasets : `list` [`FileDatasetFields`]
        Artifacts; ``path`` is relative to the datastore root, or absolute inside it.
    dataset_types : `list` [`dict`], optional
        Serialized dataset types (``lsst.daf.butler.SerializedDatasetType``) to register if they are
        new.
    chains : `list` [`str`], optional
        Names of the chains that the event's runs belong to.  If omitted, a setting of the service
        derives the chain from the run's name.
    event_id : `str`, optional
        Identifies the event; it is the same when the pod sends the event again.
    sent_at : `float`, optional
        When the pod sent it, in seconds since the Unix epoch.
    staging : `str`, optional
        URI of the staging root that the artifacts are under.  If omitted, they are at their final
        location.
    """

    type: Literal["pp-output"]
    dimension_records: list[DimensionRecordFields]
    datasets: list[FileDatasetFields]
    dataset_types: list[dict[str, Any]] | None = None
    chains: list[str] | None = None
    event_id: str | None = None
    sent_at: float | None = None
    staging: str | None = None

    def encode(self) -> bytes:
        """Return the message's value: UTF-8 JSON, without omitted fields."""
        return self.model_dump_json(exclude_defaults=True).encode()


def event_id_of(dataset_ids: Iterable[UUID]) -> UUID:
    """Return the id of an event; the same datasets in any order give the same id."""
    return uuid5(_NAMESPACE, ",".join(sorted(map(str, dataset_ids))))


def _digest(file: ResourcePath) -> tuple[int, str]:
    """Return a file's size, and its checksum by the default algorithm of datastores."""
    with file.as_local() as local, Path(local.ospath).open("rb") as reader:
        checksum = hashlib.file_digest(reader, "blake2b").hexdigest()
        return os.fstat(reader.fileno()).st_size, checksum


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the event."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **PromptOutput.model_json_schema()}
