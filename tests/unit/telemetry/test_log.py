"""Log lines are JSON, whatever is logged."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from structlog.processors import JSONRenderer

from app.telemetry.log import to_json


class WithoutText:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def render(**values: Any) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    line = JSONRenderer(serializer=to_json)(None, "info", {"event": "happened", **values})
    found: dict[str, Any] = json.loads(line, parse_constant=refuse)
    assert found["event"] == "happened"
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({("pp-output", 0): 5}, {"('pp-output', 0)": 5}),
        ({3: {None: {b"k": 1}}}, {"3": {"None": {"b'k'": 1}}}),
        (float("nan"), "nan"),
        ([float("inf"), 1.5], ["inf", 1.5]),
        ({"b"}, ["b"]),
        (b"\xff", "b'\\xff'"),
        (ValueError("wrong"), "wrong"),
        ({("a", 1): WithoutText()}, {"('a', 1)": "<WithoutText without text: RuntimeError>"}),
        (WithoutText(), "<WithoutText without text: RuntimeError>"),
    ],
)
def test_what_json_cannot_express_is_logged_as_text(value: Any, expected: Any) -> None:
    assert render(value=value)["value"] == expected


def test_a_value_that_contains_itself_is_logged() -> None:
    assert "[...]" in json.dumps(render(value=circular()))


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(object)
    | st.builds(WithoutText),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text() | st.tuples(st.text(), st.integers()), inner)
    ),
)


@given(VALUES)
def test_no_log_call_fails_because_of_its_values(value: Any) -> None:
    render(value=value)
