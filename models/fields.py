"""The fields of the `pp-output` event, as JSON has them.

The shape is that of the deployed pods (unkeyed UTF-8 JSON).  The fields after ``dataset_types``
are additions; they are optional, so that old pods and the deployed service both keep working.

`FailFast` ends the description of a list or an object at its first violation: the 3,000,000 that
fit into one event would take more memory than a pod has.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, Protocol

from pydantic import FailFast, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from models.errors import InvalidEventError

__all__ = [
    "DatasetRefFields",
    "DimensionRecordFields",
    "EventContent",
    "EventFields",
    "FileDatasetFields",
    "describe_shape_errors",
    "object_of_type",
]


class DimensionRecordFields(TypedDict):
    """A serialized dimension record (``lsst.daf.butler.SerializedDimensionRecord``)."""

    definition: str
    record: dict[str, Any]


class DatasetRefFields(TypedDict):
    """A dataset ref as pods send it; its UUID is the key in ``FileDatasetFields.refs``.

    An integer of ``data_id`` may also be given as a string or as a float without a fraction.
    """

    dataset_type_name: str
    run: str
    data_id: Annotated[dict[str, int | float | str], FailFast()]


class FileDatasetFields(TypedDict):
    """One artifact and the dataset refs that it holds, all of one run.

    Without ``formatter``, the repository's configuration names the formatter.  ``size`` is in
    bytes, ``checksum`` the hexadecimal BLAKE2b; both are additions.
    """

    refs: Annotated[dict[str, DatasetRefFields], FailFast()]
    path: str
    formatter: NotRequired[str | None]
    size: NotRequired[int | None]
    checksum: NotRequired[str | None]


class EventFields(TypedDict):
    """All fields of the event; `models.prompt_output.PromptOutput` describes them."""

    type: str
    dimension_records: Annotated[list[DimensionRecordFields], FailFast()]
    datasets: Annotated[list[FileDatasetFields], FailFast()]
    dataset_types: NotRequired[Annotated[list[dict[str, Any]] | None, FailFast()]]
    chains: NotRequired[Annotated[list[str] | None, FailFast()]]
    event_id: NotRequired[str | None]
    sent_at: NotRequired[float | None]
    staging: NotRequired[str | None]


class EventContent(Protocol):
    """An event as the Butler write reads it, such as a `models.prompt_output.PromptOutput`."""

    @property
    def dimension_records(self) -> list[DimensionRecordFields]:
        """The dimension records that the datasets refer to, in any order."""

    @property
    def datasets(self) -> list[FileDatasetFields]:
        """The artifacts and their dataset refs."""

    @property
    def dataset_types(self) -> list[dict[str, Any]] | None:
        """Serialized dataset types to register if they are new."""

    @property
    def chains(self) -> list[str] | None:
        """Names of the chains that the event's runs belong to."""

    @property
    def staging(self) -> str | None:
        """URI of the staging root under which the artifacts are."""

    @property
    def replaces_records(self) -> bool:
        """Whether stored dimension records get the values that it has of them."""

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name."""


_SHAPE = TypeAdapter(EventFields)


def describe_shape_errors(
    fields: object, shape: TypeAdapter[Any] = _SHAPE, what: str = "an event"
) -> str:
    """Describe where a message violates the contract.

    Too slow for every event (1 ms for 130 kB, three times as long as parsing it), so it is used
    after failures only.

    Parameters
    ----------
    fields : `object`
        The decoded JSON of a message.
    shape : `pydantic.TypeAdapter`, optional
        The contract; by default, that of events.
    what : `str`, optional
        What the contract is of.

    Returns
    -------
    reason : `str`
        The first few violations, or an empty string if there are none.
    """
    try:
        shape.validate_python(fields, strict=True)
    except ValidationError as exc:
        violations = [
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in exc.errors(include_url=False, include_input=False, include_context=False)
        ]
        more = f" (and {len(violations) - 3} more)" if len(violations) > 3 else ""
        return f"not the shape of {what}: " + "; ".join(violations[:3]) + more
    return ""


def object_of_type(data: object, kind: str) -> dict[str, Any]:
    """Return the decoded value of a message, which must be an object with this ``type``.

    Raises
    ------
    InvalidEventError
        If it is something else.
    """
    if not isinstance(data, dict):
        raise InvalidEventError(f"not a JSON object but {type(data).__name__}")
    if data.get("type") != kind:
        raise InvalidEventError(f"type is {data.get('type')!r}, not {kind!r}")
    return data
