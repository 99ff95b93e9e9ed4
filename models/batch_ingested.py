"""The announcement of a written window, and the list of datasets that it names (DMTN-330).

Byte-compatible with the service that this one replaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import faust
import orjson

from models.product import ORIGIN

__all__ = ["BatchIngested", "dataset_list", "dataset_list_name"]


class BatchIngested(faust.Record, serializer="json", include_metadata=False):
    """Announces that the datasets of a batch are in the Butler, and their files in the datastore.

    Attributes
    ----------
    batch_id : `str`
        UUID of the batch; a redelivered window has the same one.
    batch_file : `str`
        Bare name of the dataset-list file.
    """

    batch_id: str
    batch_file: str
    type: str = "batch-ingested"
    origin: str = ORIGIN

    def encode(self) -> bytes:
        """Return the message's value; readers may depend on the order of the keys."""
        return orjson.dumps(
            {
                "type": self.type,
                "batch_id": self.batch_id,
                "origin": self.origin,
                "batch_file": self.batch_file,
            }
        )


def dataset_list_name(batch_id: UUID, now: datetime) -> str:
    """Return the bare name of a batch's dataset-list file (``now`` is UTC)."""
    return f"{now:%Y-%m-%dT%H-%M-%S-%f}-{batch_id}.json"


def dataset_list(batch_id: UUID, dataset_ids: Iterable[UUID]) -> bytes:
    """Return the content of a batch's dataset-list file."""
    return orjson.dumps({"batch_id": batch_id, "datasets": list(dataset_ids)})
