"""What a worker prints is JSON lines: from its first line to its last, whoever prints it."""

from __future__ import annotations

import json
import re
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from testbed.embedded import EmbeddedBroker
from testbed.worker import faust_command
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids

#: A module that Python imports when it starts.  A library warns, or crashes, while ``agents.flush``
#: is imported; later, a thread of a library crashes.
LIBRARY = """
import os, sys, threading, warnings

class Library:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("CRASH"):
            raise RuntimeError("a library\\ncrashed")
        if name in ("app.application", "agents.flush"):
            warnings.warn(f"deprecated in {name},\\nbut works", DeprecationWarning)
            if name == "agents.flush":
                threading.Timer(0.0, "not callable").start()

sys.meta_path.insert(0, Library())
"""


#: The logger of the timing lines, as the deployed service names it.
TIMER = "timer.lsst.queued_butler_writer.butler"


def json_lines(text: str) -> list[dict[str, Any]]:
    """Return the log lines; a line that is none fails the test."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def library(tmp_path: Path) -> dict[str, str]:
    """Variables with which a worker uses the library."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(LIBRARY)
    return {
        "PYTHONPATH": str(folder),
        "PYTHONWARNINGS": "default::DeprecationWarning:sitecustomize",
    }


@pytest.mark.parametrize(
    ("level", "number"), [("INFO", signal.SIGTERM), ("WARNING", signal.SIGINT)]
)
def test_all_output_is_json_lines_with_the_version_and_the_readiness(
    embedded_broker: EmbeddedBroker,
    topic_name: str,
    tmp_path: Path,
    library: dict[str, str],
    level: str,
    number: signal.Signals,
) -> None:
    settings = {"WRITER_DEBUG_LEVEL": level}
    deployment = Deployment(embedded_broker, topic_name, tmp_path, settings=settings)
    with deployment.worker(**library) as worker:
        worker.wait_ready()
        if level == "INFO":
            worker.wait_for_log('"event": "ready"')
        assert worker.state()["version"] == version("butler-writer")

        worker.process.send(number)

        assert worker.wait() == 0
        lines = json_lines(worker.log_text())
    warned = [line["event"] for line in lines if line["logger"] == "py.warnings"]
    assert ["app.application" in warned[0], "agents.flush" in warned[1]] == [True, True]
    (crash,) = [line for line in lines if line["level"] == "error"]
    assert crash["event"] == "an exception ended a thread"
    assert crash["exception"].endswith("TypeError: 'str' object is not callable")
    if level == "INFO":
        (starting,) = [line for line in lines if line["event"] == "starting"]
        assert starting["version"] == version("butler-writer")
        assert "ready" in [line["event"] for line in lines]


@pytest.mark.parametrize("module", ["app.application", "agents.flush"])
def test_a_crash_while_modules_are_imported_is_one_log_line(
    library: dict[str, str], module: str
) -> None:
    done = faust_command({**library, "CRASH": module}, "worker")

    assert done.returncode == 1
    assert done.stdout == ""
    *_, crash = json_lines(done.stderr)
    assert (crash["level"], crash["event"]) == ("critical", "crashed")
    assert "RuntimeError: a library\ncrashed" in crash["exception"]


def test_with_debug_the_worker_alone_writes_more_and_the_timing_lines_of_each_write(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    """The deployed service's dashboard reads these two lines."""
    settings = {"WRITER_DEBUG_LEVEL": "DEBUG", "BUTLER_WRITER_WINDOW_EVENTS": "3"}
    deployment = Deployment(embedded_broker, topic_name, tmp_path, settings=settings)
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker(BUTLER_WRITER_WINDOW_SECONDS="600") as worker:
        worker.wait_ready()
        deployment.send(*events)
        deployment.wait_done()
        worker.term()
        assert worker.wait() == 0
        lines = json_lines(worker.log_text())
    records = {
        (each["definition"], str(sorted(each["record"].items())))
        for event in events
        for each in event["dimension_records"]
    }
    timed = [line["event"] for line in lines if line["logger"] == TIMER]
    assert len(timed) == 2
    texts = [text.rpartition(": Took ")[0] for text in timed]
    assert texts == [
        f"inserted {len(records)} dimension data records from 3 events",
        f"ingested {len(dataset_ids(*events))} datasets from 3 events",
    ]
    for text in timed:
        taken = re.fullmatch(r".*: Took (\d+\.\d{4}) seconds", text)
        assert taken is not None
        assert 0 < float(taken[1]) < 60
    chatty = {line["logger"] for line in lines if line["level"] in ("debug", "info")}
    assert chatty == {"butler_writer", TIMER}
