"""The `pp-output` event of a pod: what its writer sends, to be looked at or to be spoiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from lsst.resources import ResourcePath

from butler_writer_client import Artifact
from butler_writer_client.event import DimensionRecordFields, FileDatasetFields, PromptOutput
from simulator.night import Output, Pod
from simulator.outputs import FORMATTER

__all__ = ["artifacts_of", "encode_event", "event_of"]


#: Where the artifacts are is no part of the event.
_ANYWHERE = ResourcePath("/")


def artifacts_of(pod: Pod, folder: Path) -> list[Artifact]:
    """Return a pod's artifacts, which are in a folder."""
    root = ResourcePath(str(folder), forceDirectory=True)
    return [
        _artifact(output, root.join(output.path, forceDirectory=False)) for output in pod.outputs
    ]


def event_of(pod: Pod) -> dict[str, Any]:
    """Return what a pod says it has produced, without what is about the sending."""
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
