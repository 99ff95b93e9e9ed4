"""The `pp-output` event: what a Prompt Processing pod says it has produced.

The shape is that of the deployed pods (unkeyed UTF-8 JSON).  The fields after ``dataset_types``
are additions: optional, so that old pods and the service that this one replaces both keep working.
"""

from __future__ import annotations

from typing import Any, NotRequired

import faust
import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model
from typing_extensions import TypedDict

__all__ = [
    "DatasetRefFields",
    "DimensionRecordFields",
    "FileDatasetFields",
    "InvalidEventError",
    "PromptOutput",
    "describe_shape_errors",
]

EVENT_TYPE = "pp-output"


class InvalidEventError(ValueError):
    """A message that can never become a Butler write; the text is the reason."""


class DimensionRecordFields(TypedDict):
    """A serialized dimension record (``lsst.daf.butler.SerializedDimensionRecord``)."""

    definition: str
    record: dict[str, Any]


class DatasetRefFields(TypedDict):
    """A dataset ref as pods send it; its UUID is the key in ``FileDatasetFields.refs``."""

    dataset_type_name: str
    run: str
    data_id: dict[str, int | str]


class FileDatasetFields(TypedDict):
    """One artifact and the dataset refs that it holds, all of one run.

    ``size`` is in bytes, ``checksum`` the hexadecimal BLAKE2b; both are additions.
    """

    refs: dict[str, DatasetRefFields]
    path: str
    formatter: str | None
    size: NotRequired[int | None]
    checksum: NotRequired[str | None]


class PromptOutput(faust.Record, serializer="json", include_metadata=False):
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

    type: str
    dimension_records: list[DimensionRecordFields]
    datasets: list[FileDatasetFields]
    dataset_types: list[dict[str, Any]] | None = None
    chains: list[str] | None = None
    event_id: str | None = None
    sent_at: float | None = None
    staging: str | None = None

    @classmethod
    def decode(cls, value: bytes | None) -> PromptOutput:
        """Read a message's value.

        Only the outermost shape is checked here: elements are checked where they are parsed, in
        the flush's own thread.  Fields that this version does not know are ignored.

        Parameters
        ----------
        value : `bytes` or `None`
            The raw value of a Kafka message.

        Raises
        ------
        InvalidEventError
            If the value is not JSON, or not a ``pp-output`` event.
        """
        if value is None:
            raise InvalidEventError("the message has no value")
        try:
            data = orjson.loads(value)
        except orjson.JSONDecodeError as exc:
            raise InvalidEventError(f"not JSON: {exc}") from exc
        if not isinstance(data, dict):
            raise InvalidEventError(f"not a JSON object but {type(data).__name__}")
        if data.get("type") != EVENT_TYPE:
            raise InvalidEventError(f"type is {data.get('type')!r}, not {EVENT_TYPE!r}")
        if not isinstance(data.get("dimension_records"), list) or not isinstance(
            data.get("datasets"), list
        ):
            raise InvalidEventError(describe_shape_errors(data))
        return cls(**{name: data[name] for name in _FIELDS if name in data})


_FIELDS: tuple[str, ...] = tuple(PromptOutput._options.fields)


def _shape() -> type[Any]:
    """Build the event's pydantic model from the Record, the one source of its shape."""
    fields: Any = {
        name: (annotation, PromptOutput._options.defaults.get(name, ...))
        for name, annotation in PromptOutput._options.fields.items()
    }
    shape: type[Any] = create_model("PromptOutput", __config__=ConfigDict(strict=True), **fields)
    return shape


def describe_shape_errors(data: object) -> str:
    """Say where a decoded event departs from the contract.

    Too slow for every event (1 ms for 130 kB, three times the parse): for failures only.

    Returns
    -------
    reason : `str`
        The first few departures, or an empty string when the shape is right.
    """
    try:
        TypeAdapter(_shape()).validate_python(data)
    except ValidationError as exc:
        places = [
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in exc.errors(include_url=False, include_input=False, include_context=False)
        ]
        more = f" (and {len(places) - 3} more)" if len(places) > 3 else ""
        return "not the shape of an event: " + "; ".join(places[:3]) + more
    return ""
