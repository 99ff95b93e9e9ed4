"""The `products` message: datasets that one window wrote into one run, for other repositories.

It has all fields of the `pp-output` event that say what to write, so that a reader of events can
read it too.  Readers ignore fields that they do not know; ``version`` rises only when the meaning
of a field changes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal, NotRequired

import orjson
from pydantic import FailFast, Field, TypeAdapter
from typing_extensions import TypedDict

from models.errors import InvalidEventError
from models.fields import (
    DatasetRefFields,
    DimensionRecordFields,
    describe_shape_errors,
    object_of_type,
)

__all__ = [
    "ORIGIN",
    "VERSION",
    "ProductFileFields",
    "Products",
    "ProductsFields",
    "UniverseFields",
    "json_schema",
]

_TYPE = "products"

#: The version that this service writes, and the highest one that it reads.
VERSION = 1

#: What the deployed service, too, calls the datasets of Prompt Processing.
ORIGIN = "prompt_processing"


#: Butler stores it in 16 bits.
_Position = Annotated[int, Field(ge=-(2**15), lt=2**15, strict=True)]


class UniverseFields(TypedDict):
    """The dimension universe that data IDs and dimension records are of."""

    namespace: str
    version: int


class ProductFileFields(TypedDict):
    """One artifact and datasets that it holds.

    ``path`` is relative to the root of the datastore.  ``size`` is in bytes, ``checksum`` the
    hexadecimal BLAKE2b; both are there if the pod has sent them.  ``storage_class`` is there if the
    artifact was written with another one than its dataset type has in the repository.  ``is_part``
    is there, and true, if other messages of the batch have further datasets of the artifact: those
    of one artifact are in one message, unless they would exceed its limit.
    """

    refs: Annotated[dict[str, DatasetRefFields], FailFast()]
    path: str
    formatter: str
    size: NotRequired[int]
    checksum: NotRequired[str]
    storage_class: NotRequired[str]
    is_part: NotRequired[bool]


class ProductsFields(TypedDict):
    """Datasets that one window wrote into one run; they are in the repository.

    ``batch_id`` is that of the announcement; ``sequence`` counts the batch's messages from 0 to
    ``records_in_batch`` - 1.  ``committed_at`` is ISO 8601, in UTC, with microseconds: by then, the
    datasets were committed.  ``chains`` are the chains that the run is in, and ``chain_positions``
    its positions in them: of two runs of a chain, the one with the smaller position comes first.
    ``dimension_records`` are as the repository has them, each once, and ``dataset_types`` are those
    of the datasets.
    """

    type: Literal["products"]
    version: Annotated[int, Field(ge=1)]
    batch_id: str
    sequence: Annotated[int, Field(ge=0)]
    records_in_batch: Annotated[int, Field(ge=1)]
    committed_at: str
    origin: str
    universe: UniverseFields
    datastore: str
    run: str
    chains: Annotated[list[str], FailFast()]
    chain_positions: NotRequired[dict[str, _Position]]
    dimension_records: Annotated[list[DimensionRecordFields], FailFast()]
    dataset_types: Annotated[list[dict[str, Any]], FailFast()]
    datasets: Annotated[list[ProductFileFields], FailFast()]


_SHAPE = TypeAdapter(ProductsFields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Datasets that one window wrote into one run; the fields are those of `ProductsFields`.

    Attributes
    ----------
    batch_id : `str`
        UUID of the window's announcement.
    sequence, records_in_batch : `int`
        The message's number among those of the batch, from 0, and how many there are.
    committed_at : `str`
        ISO 8601, in UTC, with microseconds: by then, the datasets were committed.
    origin : `str`
        What made the datasets.
    universe : `UniverseFields`
        The dimension universe of the repository.
    datastore : `str`
        Name of the datastore that ``path`` is relative to.
    run : `str`
        The run of all datasets.
    chains : `list` [`str`]
        The chains that the window's events put the run into.
    chain_positions : `dict` [`str`, `int`]
        The run's positions in these chains, as far as they are known: a smaller one comes first.
    dimension_records : `list` [`DimensionRecordFields`]
        The dimension records that the datasets need, each once, as the repository has them.
    dataset_types : `list` [`dict`]
        The dataset types of the datasets, as the repository has them.
    datasets : `list` [`ProductFileFields`]
        The artifacts with their datasets.
    """

    batch_id: str
    sequence: int
    records_in_batch: int
    committed_at: str
    origin: str = ORIGIN
    universe: UniverseFields
    datastore: str
    run: str
    chains: list[str]
    chain_positions: dict[str, int] = field(default_factory=dict)
    dimension_records: list[Any]
    dataset_types: list[Any]
    datasets: list[Any]

    @property
    def staging(self) -> None:
        """Artifacts are at their final location, never in a staging area."""

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {"type": _TYPE, "version": VERSION, **asdict(self)}

    def encode(self) -> bytes:
        """Return the message's value; a part may be an `orjson.Fragment`."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return orjson.dumps({"type": _TYPE, "version": VERSION, **own})

    @classmethod
    def decode(cls, value: bytes | None) -> Products:
        """Decode a message's value; fields that this version does not know are ignored.

        Parameters
        ----------
        value : `bytes` or `None`
            The raw value of a Kafka message.

        Raises
        ------
        InvalidEventError
            If the value is not a ``products`` message, or one of a later version.
        """
        try:
            decoded = orjson.loads(value or b"")
        except orjson.JSONDecodeError as exc:
            raise InvalidEventError(f"not JSON: {exc}") from exc
        data = object_of_type(decoded, _TYPE)
        version = data.get("version")
        if type(version) is int and version > VERSION:
            raise InvalidEventError(f"version {version} is later than {VERSION}; update the reader")
        if reason := describe_shape_errors(data, _SHAPE, "a products message"):
            raise InvalidEventError(reason)
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name in data})


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the message."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **_SHAPE.json_schema()}
