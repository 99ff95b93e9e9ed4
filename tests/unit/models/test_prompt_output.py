"""The input event: its fields, its schema, and what is rejected when it is decoded."""

from __future__ import annotations

import gc
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jsonschema
import orjson
import pytest
from hypothesis import given
from pydantic import ValidationError

from butler_writer_client import event as client
from models.errors import InvalidEventError
from models.fields import EventFields, describe_shape_errors
from models.prompt_output import PromptOutput

SCHEMA = Path(__file__).parents[3] / "docs" / "pp-output.schema.json"

#: More wrong elements than anybody has to read about.
MANY: list[list[int]] = [[]] * 10_000

EVENT: dict[str, Any] = {
    "type": "pp-output",
    "dimension_records": [{"definition": "visit", "record": {"instrument": "LSSTCam", "id": 5}}],
    "datasets": [
        {
            "refs": {
                "6ba7b810-9dad-11d1-80b4-00c04fd430c8": {
                    "dataset_type_name": "calexp",
                    "run": "LSSTCam/prompt/output-2025-09-12/ApPipe/x",
                    "data_id": {"instrument": "LSSTCam", "detector": 5},
                }
            },
            "path": "a/b.fits",
            "formatter": None,
        }
    ],
}

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(0.1, 0.9) | st.text(max_size=3)
json_values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=3), v, max_size=2)
)


@st.composite
def almost_events(draw: st.DrawFn) -> Any:
    """Draw an event in which at most one value has been replaced or removed."""
    event = orjson.loads(orjson.dumps(EVENT))
    for name in draw(st.sets(st.sampled_from(["dataset_types", "chains", "event_id", "staging"]))):
        event[name] = draw(json_values)
    for name in draw(st.sets(st.sampled_from(["size", "checksum"]))):
        event["datasets"][0][name] = draw(json_values)
    parent: Any = event
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys or draw(st.booleans()):
            return event
        key = draw(st.sampled_from(keys))
        if not isinstance(parent[key], dict | list) or draw(st.booleans()):
            # The service accepts what the deployed one does: an event without formatters.
            if isinstance(parent, dict) and key != "formatter" and draw(st.booleans()):
                del parent[key]
            else:
                parent[key] = draw(json_values)
            return event
        parent = parent[key]


def test_the_schema_in_docs_is_the_clients() -> None:
    assert json.loads(SCHEMA.read_text()) == client.json_schema(), "run `make schema`"


def test_the_schema_has_the_fields_of_the_event_and_requires_those_that_pods_send() -> None:
    schema = client.json_schema()
    assert list(schema["properties"]) == list(PromptOutput._options.fields)
    assert list(schema["properties"]) == list(EventFields.__annotations__)
    assert schema["required"] == ["type", "dimension_records", "datasets"]


@given(almost_events())
def test_schema_and_decoder_accept_the_same_shapes(event: Any) -> None:
    validator = jsonschema.Draft202012Validator(client.json_schema())
    right_type = event.get("type") == "pp-output"
    assert validator.is_valid(event) == (describe_shape_errors(event) == "" and right_type)


@given(almost_events())
def test_client_and_service_accept_the_same_events(event: Any) -> None:
    right = describe_shape_errors(event) == "" and event.get("type") == "pp-output"
    try:
        given = client.PromptOutput.model_validate(event)
    except ValidationError:
        assert not right
    else:
        assert right
        received = PromptOutput.decode(given.encode())
        assert client.PromptOutput.model_validate(received.asdict()) == given


@given(almost_events())
def test_decoding_returns_an_event_or_raises_with_a_reason(event: Any) -> None:
    value = orjson.dumps(event)
    outermost = [event.get("dimension_records"), event.get("datasets")]
    if event.get("type") == "pp-output" and all(isinstance(part, list) for part in outermost):
        assert PromptOutput.decode(value).datasets == event["datasets"]
    else:
        with pytest.raises(InvalidEventError):
            PromptOutput.decode(value)


def test_unknown_fields_are_ignored() -> None:
    output = PromptOutput.decode(orjson.dumps(EVENT | {"colour": "blue"}))
    assert output.asdict().keys() == PromptOutput._options.fields.keys()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"exposure_time": NaN,}', "not JSON: trailing comma"),
        (b'{"exposure_time": NaN, "deep": ' + b"[" * 9999, "not JSON: recursion limit"),
        (b"[]", "not a JSON object"),
        (b"{}", "type is None"),
        (b'{"type": "batch-ingested"}', "type is 'batch-ingested'"),
        (b'{"type": "pp-output"}', "dimension_records: Field required"),
        (b'{"type": "pp-output", "dimension_records": [], "datasets": 1}', "datasets"),
    ],
)
def test_a_message_that_is_not_an_event_is_rejected_with_the_reason(
    value: bytes | None, reason: str
) -> None:
    with pytest.raises(InvalidEventError, match=reason):
        PromptOutput.decode(value)


@pytest.mark.parametrize(
    "field",
    [
        {"datasets": MANY},
        {"dimension_records": MANY},
        {"dataset_types": MANY},
        {"chains": MANY},
        {"datasets": [{"refs": {str(n): 0 for n in range(10_000)}, "path": ""}]},
        {
            "datasets": [
                {
                    "refs": {
                        "": {
                            "dataset_type_name": "",
                            "run": "",
                            "data_id": {str(n): [] for n in range(10_000)},
                        }
                    },
                    "path": "",
                }
            ]
        },
    ],
    ids=["datasets", "records", "types", "chains", "refs", "values"],
)
def test_few_violations_are_described_however_many_there_are(field: dict[str, Any]) -> None:
    """The description of 3,000,000, which fit into an event, took more memory than a pod has."""
    tracemalloc.start()
    reason = describe_shape_errors(EVENT | field)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason.startswith("not the shape of an event: ")
    assert peak < 100_000


@pytest.mark.parametrize("value", [b" " * 99, b"[NaN", b"{", b"[]", b"{}", b"\xff", None])
def test_what_cannot_be_decoded_leaves_no_reference_cycle(value: bytes | None) -> None:
    """A cycle would keep a message of 10 MiB, and its text, until the next garbage collection."""
    gc.collect()
    gc.disable()
    try:
        with suppress(InvalidEventError):
            PromptOutput.decode(value)
            pytest.fail("it was decoded")
        assert gc.collect() == 0
    finally:
        gc.enable()
