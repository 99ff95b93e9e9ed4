"""Every page is read-only and safe to ask for, whatever the question is."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.web import answer, routes

#: What the parts of a path stand for that are not fixed.
NAMES = {
    "{batch_id}": "00000000-0000-0000-0000-000000000000",
    "{chain}": "x/y",
    "{letter}": "0-0",
    "{file}": "pages.css",
    "{name}": "chains",
    "{key}": "x",
}

#: Pages of Faust: the tables, and who keeps them.
FAUST = {
    "/router/",
    "/router/topics",
    "/router/{name}/",
    "/router/{name}/{key}/",
    "/table/",
    "/table/{name}/",
    "/table/{name}/{key}/",
}

LONG = "x" * 7000

#: Questions for what is not there.
WRONG = [
    *(
        f"/dead-letters/{name}"
        for name in (
            "-1-5",
            "1e9",
            "0-1e9",
            "1000000000-0",
            "0-999999999999999999",
            "0-9999999999999999999999",
            "%D9%A3-%D9%A4",
            "0-0-0",
            "%2e%2e",
            "0-0%00",
            LONG,
        )
    ),
    *(f"/windows/{name}" for name in ("x", "%00", "%ff", "%2F", "..%2f..", LONG)),
    *(
        f"/chains/{name}"
        for name in (
            *("%2F", "a%2Fb", "%00", "%ff", "%E2%98%83/x", "%3Cb%3E", "a//b", LONG),
            *(".", "..", "%2e", "%2e%2e", "x/../..", "%2e%2e%2f%2e%2e", "%25", "a%3Fb", "a+b"),
            "%F0%9F%98%80" * 600,
        )
    ),
    *(
        f"/static/{name}"
        for name in (
            *("..%2fapi.py", "%2e%2e/api.py", "x", "", ".", "%00", "pages.css%00", "pages.css/"),
            *("%ff", "x" * 300, LONG, "%2e%2e%2f" * 300, "templates"),
        )
    ),
    "/router/x/",
    "/router/x/y/",
    "/table/x/",
    "/table/x/y/",
    "/table/chains/%00/",
    "/table/chains/%E2%98%83/",
    "/graph/",
    "/assignment/",
    "/performance/",
    "/nothing",
    "/windows/",
    "//",
    "/a/b/c?" + "x=y&" * 1500,
    "/api/v1/nothing",
    "/api/v2/overview",
    "/state/nothing",
    "/" * 5000,
]

#: Requests that are not valid HTTP.
MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"hello\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 10_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
]

#: Requests that are valid, and strange.
STRANGE = [
    b"GET /chains/x HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET /chains/x HTTP/1.1\r\nHost: x:99999999\r\n\r\n",
    b"GET /table/chains/x/ HTTP/1.1\r\nHost: ]:y\r\n\r\n",
    b"GET /windows?page=99999999999999999999&limit=-1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /dead-letters?%zz=%00&&&= HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /static/pages.css HTTP/1.1\r\nHost: x\r\nRange: bytes=9-1\r\n\r\n",
    b"GET /static/pages.css HTTP/1.1\r\nHost: x\r\nIf-Modified-Since: yesterday\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nExpect: nothing\r\n\r\n",
    b"GET /%zz%/x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://elsewhere/windows HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"SEARCH /windows HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]


@pytest.fixture
def worker(broker: Cluster, topic_name: str, tmp_path: Path) -> Iterator[Worker]:
    deployment = Deployment(broker, topic_name, tmp_path)
    with deployment.worker(
        BUTLER_WRITER_WEB_HOST="127.0.0.1",
        # Faust's own settings add no page.
        APP_WEB_STATS_ENABLED="true",
        APP_WEB_GRAPH_ENABLED="true",
        APP_WEB_METRICS_ENABLED="true",
    ) as started:
        started.wait_ready()
        yield started


def test_every_page_only_answers_and_no_question_disturbs_the_worker(worker: Worker) -> None:
    paths = routes()
    assert {*paths} >= FAUST | {
        "/",
        "/api/v1/overview",
        "/livez",
        "/metrics",
        "/state",
        "/static/{file}",
    }
    for path, methods in paths.items():
        assert methods == {"GET", "HEAD"}, path
        check_read_only(worker, path)
    icon = answer(worker, "/favicon.ico")
    assert (icon.status, icon.headers["Content-Type"]) == (200, "image/svg+xml")
    (table,) = json.loads(answer(worker, "/table/").text)
    assert table["name"] == "chains"
    for path in WRONG:
        found = answer(worker, path)
        assert found.status == 404, (path, found.text[:200])
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert "<b>" not in found.text
        is_for_programs = path.startswith(("/api/", "/state/", "/table/", "/router/"))
        if is_for_programs:
            assert json.loads(found.text)["error"]
        else:
            assert "<h1>Not found</h1>" in found.text, path
            assert f'href="{"../" * min(path_depth(path), 100) or "./"}windows"' in found.text, path
    before = worker.log_text()
    for request in MALFORMED:
        check_restricted(raw_answer(worker, request), {400})
    for request in STRANGE:
        check_restricted(raw_answer(worker, request), {200, 400, 404, 405, 416, 417})
    logged = worker.log_text().removeprefix(before)
    assert "Traceback" not in logged
    assert not [each for each in json_lines(logged) if each["level"] not in ("debug", "info")]
    assert "Error handling request" not in before
    with ExitStack() as stack:  # browsers that do not read what they have asked for
        before = worker.state()["memory_bytes"]
        for _ in range(40):
            stack.enter_context(closing(ask_without_reading(worker)))
        assert worker.status("/readyz") == 200
        assert worker.state()["memory_bytes"] - before < 30 * 2**20
        worker.term()
        assert worker.wait() == 0


def path_depth(path: str) -> int:
    """Return how many folders deep a path is."""
    return path.partition("?")[0].count("/") - 1


def raw_answer(worker: Worker, request: bytes) -> http.client.HTTPResponse:
    """Return the answer to a request that a client would not send."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as connection:
        connection.sendall(request)
        found = http.client.HTTPResponse(connection)
        found.begin()
        return found


def check_restricted(found: http.client.HTTPResponse, statuses: set[int]) -> None:
    """Check the status of an answer, and the headers that every answer has."""
    assert found.status in statuses
    assert found.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Referrer-Policy"] == "no-referrer"


def json_lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def check_read_only(worker: Worker, path: str) -> None:
    """Check that a page refuses what is no question, and that it answers HEAD as it answers GET."""
    address = path
    for name, value in NAMES.items():
        address = address.replace(name, value)
    assert "{" not in address
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        refused = answer(worker, address, method)
        assert refused.status == 405, (method, path)
        assert refused.headers["Allow"] == "GET,HEAD", (method, path)
        assert refused.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
    found, head = answer(worker, address), answer(worker, address, "HEAD")
    may_be_missing = "{" in path or path.endswith("/waiting")  # it fills no downstream repository
    assert found.status in ((200, 404) if may_be_missing else (200,)), path
    assert (head.status, head.body) == (found.status, b""), path
    assert head.headers["Content-Type"] == found.headers["Content-Type"], path
    for each in (found, head):
        assert each.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert each.headers["X-Content-Type-Options"] == "nosniff"


def ask_without_reading(worker: Worker) -> socket.socket:
    """Ask for large files, and read nothing of the answers."""
    browser = socket.socket()
    browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    browser.connect(("127.0.0.1", worker.port))
    for path in ("/settings", "/static/uPlot.iife.min.js", "/api/v1/openapi.json") * 50:
        browser.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return browser
