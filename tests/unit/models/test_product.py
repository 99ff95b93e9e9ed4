"""The messages of the product log: their schema, and what a reader makes of other messages."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from models.errors import InvalidEventError
from models.fields import describe_shape_errors
from models.product import VERSION, Products, json_schema
from models.prompt_output import PromptOutput

SCHEMA = Path(__file__).parents[3] / "docs" / "products.schema.json"
DATASET = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

MESSAGE: dict[str, Any] = {
    "type": "products",
    "version": 1,
    "batch_id": "0b7f2a9e-6f0c-5c3e-8d4e-0123456789ab",
    "sequence": 0,
    "records_in_batch": 2,
    "committed_at": "2026-11-27T07:30:00.000000+00:00",
    "origin": "prompt_processing",
    "universe": {"namespace": "daf_butler", "version": 8},
    "datastore": "FileDatastore@<butlerRoot>",
    "run": "run",
    "chains": ["chain"],
    "chain_positions": {"chain": -3},
    "dimension_records": [{"definition": "visit", "record": {"instrument": "LSSTCam", "id": 5}}],
    "dataset_types": [{"name": "calexp", "storageClass": "ExposureF"}],
    "datasets": [
        {
            "refs": {
                DATASET: {
                    "dataset_type_name": "calexp",
                    "run": "run",
                    "data_id": {"instrument": "LSSTCam", "detector": 5},
                }
            },
            "path": "a.fits",
            "formatter": "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter",
            "size": 10,
            "checksum": "00ff",
            "storage_class": "ExposureI",
        }
    ],
}


def test_the_schema_in_docs_is_generated_from_the_model() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), "run `make schema`"


def test_a_message_has_the_fields_of_the_schema_in_its_order() -> None:
    message = Products.decode(orjson.dumps(MESSAGE))
    assert list(orjson.loads(message.encode())) == list(json_schema()["properties"])
    assert orjson.loads(message.encode()) == MESSAGE == message.asdict()
    jsonschema.validate(MESSAGE, json_schema())


def test_a_message_has_the_shape_of_an_event() -> None:
    """What reads events can read the log."""
    assert describe_shape_errors(MESSAGE) == ""
    event = PromptOutput.decode(orjson.dumps(MESSAGE | {"type": "pp-output"}))
    message = Products.decode(orjson.dumps(MESSAGE))
    assert event.dimension_records == message.dimension_records
    assert (event.datasets, event.dataset_types) == (message.datasets, message.dataset_types)
    assert (event.chains, event.staging) == (message.chains, message.staging)


@pytest.mark.parametrize("path", [(), ("universe",), ("datasets", 0), ("dimension_records", 0)])
def test_a_field_that_is_not_known_is_ignored(path: tuple[str | int, ...]) -> None:
    later: Any = copy.deepcopy(MESSAGE)
    part = later
    for step in path:
        part = part[step]
    part["later"] = {"a": 1}
    jsonschema.validate(later, json_schema())
    assert Products.decode(orjson.dumps(later)).run == "run"


def test_a_message_from_before_the_positions_of_runs_is_read() -> None:
    before = {key: value for key, value in MESSAGE.items() if key != "chain_positions"}
    jsonschema.validate(before, json_schema())
    assert Products.decode(orjson.dumps(before)).chain_positions == {}


OPTIONAL = ("type", "version", "chain_positions")


@pytest.mark.parametrize("name", [name for name in MESSAGE if name not in OPTIONAL])
def test_a_message_without_one_of_its_fields_is_refused(name: str) -> None:
    less = {key: value for key, value in MESSAGE.items() if key != name}
    with pytest.raises(InvalidEventError, match=f"not the shape of a products message: {name}"):
        Products.decode(orjson.dumps(less))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object but list"),
        (b'{"type": "pp-output"}', "type is 'pp-output', not 'products'"),
        (orjson.dumps(MESSAGE | {"version": VERSION + 1}), "version 2 is later than 1"),
        (orjson.dumps(MESSAGE | {"version": "1"}), "version: Input should be a valid integer"),
        (orjson.dumps(MESSAGE | {"datasets": [{}]}), "datasets.0.refs: Field required"),
        (orjson.dumps(MESSAGE | {"chain_positions": {"c": 2**15}}), "chain_positions.c: .*32768"),
        (orjson.dumps(MESSAGE | {"chain_positions": {"c": True}}), "chain_positions.c: .*integer"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused(value: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidEventError, match=reason):
        Products.decode(value)
