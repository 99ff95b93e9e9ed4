"""What a pod passes to its writer, and the `pp-output` event that the writer makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from lsst.resources import ResourcePath

from butler_writer_client import Artifact
from butler_writer_client.event import DimensionRecordFields, FileDatasetFields, PromptOutput
from simulator.night import Output, Pod
from simulator.outputs import FORMATTER

__all__ = ["encode_event", "event_of", "write_outputs"]


#: The event does not contain the folder of the artifacts.
_ANYWHERE = ResourcePath("/")


def write_outputs(pod: Pod, folder: Path) -> list[Artifact]:
    """Write a pod's outputs into the pod's own folder, and return the artifacts."""
    root = ResourcePath(str(folder), forceDirectory=True)
    artifacts = []
    for output in pod.outputs:
        name = output.path.rpartition("/")[-1]
        (folder / name).write_bytes(orjson.dumps(output.content))
        artifacts.append(_artifact(output, root.join(name, forceDirectory=False)))
    return artifacts


def event_of(pod: Pod) -> dict[str, Any]:
    """Return a pod's event, without the fields that describe the sending."""
    event = PromptOutput(
        type="pp-output",
        dimension_records=[
            DimensionRecordFields.of(record)
            for records in pod.records.values()
            for record in records
        ],
        datasets=[FileDatasetFields.of(_artifact(output, _ANYWHERE)) for output in pod.outputs],
    )
    return event.model_dump(mode="json", exclude_defaults=True)


def _artifact(output: Output, source: ResourcePath) -> Artifact:
    return Artifact(source, output.path, FORMATTER, (output.ref,))


def encode_event(event: dict[str, Any]) -> bytes:
    """Serialize an event."""
    return orjson.dumps(event)
