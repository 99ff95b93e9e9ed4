"""The `pp-output` event of a pod, as the deployed pods send it."""

from __future__ import annotations

from typing import Any

import orjson
from lsst.daf.butler import DimensionRecord

from simulator.night import Pod
from simulator.outputs import FORMATTER

__all__ = ["encode_event", "event_of"]


def event_of(pod: Pod) -> dict[str, Any]:
    """Return what a pod says it has produced."""
    return {
        "type": "pp-output",
        "dimension_records": [
            _serialized(record) for records in pod.records.values() for record in records
        ],
        "datasets": [
            {
                "refs": {
                    str(output.ref.id): {
                        "dataset_type_name": output.ref.datasetType.name,
                        "run": output.ref.run,
                        "data_id": dict(output.ref.dataId.required),
                    }
                },
                "path": output.path,
                "formatter": FORMATTER,
            }
            for output in pod.outputs
        ],
    }


def encode_event(event: dict[str, Any]) -> bytes:
    """Serialize an event."""
    return orjson.dumps(event)


def _serialized(record: DimensionRecord) -> dict[str, Any]:
    return {
        "definition": record.definition.name,
        "record": record.to_simple().model_dump(mode="json")["record"],
    }
