"""Log lines are JSON, whatever is logged."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from structlog.processors import JSONRenderer

from app.installation import own_version
from app.telemetry.log import MAX_TEXT, to_json
from testbed.worker import CHECKOUT


class WithoutText:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class TextWithoutText(str):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ChangingMapping(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("dictionary changed size during iteration")


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


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
        (10**5000, "<int of 16610 bits>"),
        ({-(10**5000): 2**1023}, {"<int of 16610 bits>": 2**1023}),
        ("half \ud83d", "half \\ud83d"),
        ("x" * 10**6, f"{'x' * MAX_TEXT}... (1000000 characters)"),
        (TextWithoutText("text"), "text"),
        (ChangingMapping(a=1), "<ChangingMapping without text: RuntimeError>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_express_is_logged_as_text(value: Any, expected: Any) -> None:
    assert render(value=value)["value"] == expected


def test_a_value_that_contains_itself_is_logged() -> None:
    assert "[...]" in json.dumps(render(value=circular()))


def test_a_value_that_is_nested_too_deeply_is_logged() -> None:
    assert "RecursionError" in json.dumps(render(value=deep(100_000)))


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers().map(lambda exponent: 10 ** (abs(exponent) % 10_000))
    | st.floats()
    | st.text(st.characters())
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


#: Writes log lines of all kinds, as text and then as JSON.
PROGRAM = """
import logging, logging.config, sys
import structlog
from app.settings import load_settings
from app.installation import own_version
from app.telemetry.log import logging_config

class WithoutText(Exception):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

def log_all():
    own, library = structlog.get_logger("butler_writer"), logging.getLogger("library")
    for value in WithoutText(), 10**5000, "half \\ud83d", b"\\xff", {("a", 1): float("nan")}:
        own.info("happened", value=value)
        library.warning("said", extra={"value": value})
        library.warning("said %s", value)
        try:
            raise WithoutText
        except WithoutText:
            own.exception("failed", value=value)
    library.warning("%s and %s", 1)

for is_terminal in True, False:
    sys.stderr.isatty = lambda: is_terminal
    logging.config.dictConfig(logging_config(load_settings()))
    print(is_terminal, file=sys.stderr)
    log_all()
"""


def test_no_log_call_prints_a_logging_error() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    coloured, _, lines = result.stderr.partition("False\n")
    assert "Logging error" not in coloured
    events = [json.loads(line) for line in lines.splitlines()]
    kinds = Counter(event["event"] for event in events)
    assert kinds["happened"] == kinds["failed"] == kinds["said"] == 5
    assert kinds["a log line cannot be written"] == 3  # the error, the number, the arguments
    assert events[-1]["error"] == "TypeError: not enough arguments for format string"


LEVELS = """
import logging, logging.config
import structlog
from app.settings import load_settings
from app.installation import own_version
from app.telemetry.log import logging_config

logging.config.dictConfig(logging_config(load_settings()))
structlog.get_logger("butler_writer").debug("own")
timer = "timer.lsst.queued_butler_writer.butler"
for name in timer, "lsst.daf.butler", "faust.app", "aiokafka.conn":
    for level in logging.DEBUG, logging.INFO, logging.WARNING:
        logging.getLogger(name).log(level, logging.getLevelName(level))
"""


def logged_levels(**environment: str) -> dict[str, list[str]]:
    """Return what each logger has logged in a process with these variables."""
    result = subprocess.run(
        [sys.executable, "-c", LEVELS],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    found: dict[str, list[str]] = {}
    for line in map(json.loads, result.stderr.splitlines()):
        found.setdefault(line["logger"], []).append(line["event"])
        assert (line["version"], line["worker"]) == (own_version(), socket.gethostname())
    return found


TIMER = "timer.lsst.queued_butler_writer.butler"


def test_only_the_services_own_lines_and_the_timers_follow_the_log_level() -> None:
    libraries = {name: ["WARNING"] for name in ("lsst.daf.butler", "faust.app", "aiokafka.conn")}
    everything = ["DEBUG", "INFO", "WARNING"]
    debug = logged_levels(WRITER_DEBUG_LEVEL="DEBUG")
    assert debug == libraries | {"butler_writer": ["own"], TIMER: everything}
    assert logged_levels() == libraries | {TIMER: ["INFO", "WARNING"]}
    assert logged_levels(WRITER_DEBUG_LEVEL="ERROR") == {}


def test_a_library_that_is_named_has_a_level_of_its_own() -> None:
    found = logged_levels(BUTLER_WRITER_LOG_LEVELS="lsst=DEBUG,faust=INFO,aiokafka=ERROR")
    assert found == {
        TIMER: ["INFO", "WARNING"],
        "lsst.daf.butler": ["DEBUG", "INFO", "WARNING"],
        "faust.app": ["INFO", "WARNING"],
    }
