"""The `pp-output` event: what a pod says it has produced.

The source of its JSON Schema.  The fields after ``datasets`` are optional, so that each version of
the service understands each version of the pods.
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

#: Of the uuid5 by which an event is named after its datasets.
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
    """A dataset ref as pods send it; its UUID is the key in ``FileDatasetFields.refs``."""

    dataset_type_name: str
    run: str
    data_id: dict[str, int | str]

    @classmethod
    def of(cls, ref: DatasetRef) -> DatasetRefFields:
        """Serialize a dataset ref, its data ID without what follows from it."""
        return cls(
            dataset_type_name=ref.datasetType.name,
            run=ref.run,
            data_id=dict(ref.dataId.required),
        )


class FileDatasetFields(_Part):
    """One artifact and the dataset refs that it holds, all of one run.

    ``size`` is in bytes, ``checksum`` the hexadecimal BLAKE2b; both are optional.
    """

    refs: dict[str, DatasetRefFields]
    path: str
    formatter: str | None
    size: int | None = None
    checksum: str | None = None

    @classmethod
    def of(cls, artifact: Artifact, *, digest: bool = False) -> FileDatasetFields:
        """Serialize an artifact; if told, read the file for its size and its checksum."""
        size, checksum = _digest(artifact.source) if digest else (None, None)
        return cls(
            refs={str(ref.id): DatasetRefFields.of(ref) for ref in artifact.refs},
            path=artifact.path,
            formatter=artifact.formatter,
            size=size,
            checksum=checksum,
        )


class PromptOutput(_Part):
    """The outputs of one Prompt Processing pod, to be written into the Butler.

    Attributes
    ----------
    type : `str`
        Always ``"pp-output"``.
    dimension_records : `list` [`DimensionRecordFields`]
        The dimension records that the datasets refer to, in any order.
    datasets : `list` [`FileDatasetFields`]
        Artifacts; ``path`` is relative to the datastore root, or absolute inside it.
    dataset_types : `list` [`dict`], optional
        Serialized dataset types (``lsst.daf.butler.SerializedDatasetType``) to register if new.
    chains : `list` [`str`], optional
        Names of the chains that the event's runs belong to.  Absent: a setting derives the chain
        from the run's name.
    event_id : `str`, optional
        Identity of the event across retries of the pod.
    sent_at : `float`, optional
        When the pod sent it, in seconds since the Unix epoch.
    staging : `str`, optional
        URI of the staging root that the artifacts wait under.  Absent: they are at their final
        place.
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
        """Return the message's value: UTF-8 JSON, without the fields that are not given."""
        return self.model_dump_json(exclude_defaults=True).encode()


def event_id_of(dataset_ids: Iterable[UUID]) -> UUID:
    """Return the identity of an event: the same datasets give the same one, in any order."""
    return uuid5(_NAMESPACE, ",".join(sorted(map(str, dataset_ids))))


def _digest(file: ResourcePath) -> tuple[int, str]:
    """Return a file's size, and its checksum as datastores have it by default."""
    with file.as_local() as local, Path(local.ospath).open("rb") as reader:
        checksum = hashlib.file_digest(reader, "blake2b").hexdigest()
        return os.fstat(reader.fileno()).st_size, checksum


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the event."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **PromptOutput.model_json_schema()}
