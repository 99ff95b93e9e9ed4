"""The pages of several workers: each shows all of them, with the numbers of Kafka and database."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import psycopg
import pytest
from markupsafe import escape

from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT, Worker
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, RUN, Night
from tests.support.flow import locked, streaming

pytestmark = pytest.mark.kafka

PAGES = ("/", "/windows", "/chains", "/dead-letters", "/workers", "/settings", "/about")
DOCUMENTS = tuple(
    f"/api/v1/{name}"
    for name in ("overview", "windows", "chains", "dead-letters", "workers", "about")
)

SETTINGS = {
    "BUTLER_WRITER_WEB_HOST": "127.0.0.1",
    "BUTLER_WRITER_WINDOW_SECONDS": "0.5",
    # A killed worker stays in the group for as long.
    "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "20",
}


@pytest.fixture
def deployment(kafka: Cluster, postgresql_url: str, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(
        kafka, topic_name, tmp_path, database=postgresql_url, partitions=2, settings=SETTINGS
    )


@pytest.fixture
def workers(deployment: Deployment) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        started = [stack.enter_context(deployment.worker()) for _ in range(2)]
        for worker in started:
            worker.wait_ready()
        wait_until(lambda: all(each.partitions() for each in started), 120, "both have a partition")
        yield started


def document(worker: Worker, path: str) -> Any:
    return json.loads(worker.page(f"/api/v1/{path}"))


def stored_datasets(deployment: Deployment) -> int:
    with psycopg.connect(str(deployment.database)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM dataset").fetchall()
        return int(count)


def wait_for_lag(worker: Worker, lag: int | None) -> dict[str, Any]:
    """Wait until a worker shows a lag; what it shows may be two seconds old."""

    def found() -> dict[str, Any] | None:
        shown: dict[str, Any] = document(worker, "overview")
        return shown if shown["lag"] == lag else None

    return wait_until(found, 30, lambda: f"lag {lag} on {worker.url}") or {}


def test_each_worker_shows_the_numbers_of_kafka_and_of_the_database(
    deployment: Deployment, workers: list[Worker]
) -> None:
    names = sorted(worker.url for worker in workers)
    first = document(workers[0], "overview")
    assert [each["pages"] for each in first["workers"]] == names
    with streaming(deployment) as events:
        for worker in workers:  # the numbers move while events flow
            before = document(worker, "overview")["totals"]["datasets"]
            wait_until(
                lambda w=worker, n=before: document(w, "overview")["totals"]["datasets"] > n,  # type: ignore[misc]
                60,
                "more datasets",
            )
            shown = document(worker, "overview")
            assert shown["state"] == "flowing", shown["reasons"]
            assert shown["events_per_second"] > 0
            assert shown["latency_p50"] > 0
            assert "Events are being written" in worker.page("/")
    deployment.wait_done()
    with locked(deployment):
        deployment.send(*(Night(deployment.root).event(500, n) for n in range(5)))
        for worker in workers:
            shown = wait_for_lag(worker, 5)
            assert shown["oldest_pending"] is not None
            assert "<strong>5</strong>" in worker.page("/")
    deployment.wait_done()
    expected = stored_datasets(deployment)
    assert expected == 10 * (len(events) + 5)
    committed = deployment.cluster.committed(deployment.group, deployment.topic)
    ends = deployment.cluster.end_offsets(deployment.topic)
    for worker in workers:
        shown = wait_for_lag(worker, 0)
        wait_until(
            lambda w=worker: document(w, "overview")["totals"]["inserted"] == expected,  # type: ignore[misc]
            30,
            "all datasets",
        )
        shown = document(worker, "overview")
        found = {each["partition"]: each for each in shown["partitions"]}
        assert {number: each["committed"] for number, each in found.items()} == committed
        assert {number: each["end"] for number, each in found.items()} == ends
        assert sorted(each["owner"] for each in found.values()) == names
        assert f"{expected:,} since the start" in worker.page("/")


def test_each_page_of_each_worker_shows_all_workers_and_flushes(
    deployment: Deployment, workers: list[Worker]
) -> None:
    ids = deployment.send(*(Night(deployment.root).event(1, n) for n in range(6)))
    bad = deployment.cluster.produce(
        deployment.topic, b'{"type": "<script>alert(1)</script>"}', partition=0
    )
    deployment.wait_done()
    names = sorted(worker.url for worker in workers)

    def flushes(worker: Worker) -> list[dict[str, Any]]:
        found = document(worker, "windows")
        assert found["not_answering"] == []
        shown: list[dict[str, Any]] = found["flushes"]
        return shown

    wait_until(
        lambda: [sum(each["events"] for each in flushes(worker)) for worker in workers] == [7, 7],
        30,
        "all flushes on both",
    )
    batches = [[(each["worker"], each["batch_id"]) for each in flushes(w)] for w in workers]
    assert sorted(batches[0]) == sorted(batches[1])
    assert {name for name, _ in batches[0]} == set(names)
    for worker in workers:
        overview, windows, listed = (worker.page(path) for path in ("/", "/windows", "/workers"))
        for name in names:
            assert name.removeprefix("http://") in overview
            assert f'href="{name}/"' in listed
        seen: dict[tuple[int, int], dict[str, Any]] = {}
        for _, batch in batches[0]:
            assert f"./windows/{batch}" in windows
            detail = document(worker, f"windows/{batch}")
            page = worker.page(f"/windows/{batch}")
            for event in detail["events"]:
                seen[event["partition"], event["offset"]] = event
                name = f"{event['topic']}-{event['partition']}-{event['offset']}"
                assert name in page
                assert str(escape(event["reason"] or "")) in page
            assert "<script>alert" not in page
        assert sorted(seen) == sorted([*ids, bad])
        assert seen[bad]["result"] == "set aside"
        assert "<script>alert(1)</script>" in seen[bad]["reason"]
        assert all(seen[each]["datasets"] == 10 for each in ids)
    status, _ = ask(workers[0], "/windows/00000000-0000-0000-0000-000000000000", "GET")
    assert status == 404


def test_a_killed_worker_is_shown_as_not_answering_and_is_gone_after_its_session(
    workers: list[Worker],
) -> None:
    killed, left = workers
    assert document(left, "overview")["reasons"] == []
    killed.kill()

    def silent() -> bool:
        (found,) = [w for w in document(left, "workers")["workers"] if w["pages"] == killed.url]
        return found["no_answer"] is not None

    since = time.monotonic()
    wait_until(silent, 30, "the killed worker does not answer")
    assert time.monotonic() - since < 5
    shown = document(left, "overview")
    assert shown["state"] in ("impaired", "stopped")
    assert any(f"The worker {killed.url} does not answer." in each for each in shown["reasons"])
    assert "does not answer" in left.page("/")
    assert document(left, "windows")["not_answering"] == [killed.url]
    wait_until(
        lambda: [w["pages"] for w in document(left, "workers")["workers"]] == [left.url],
        90,
        "the killed worker has left the group",
    )
    wait_until(lambda: document(left, "overview")["state"] == "idle", 60, "nothing is wrong")
    assert "All events are written" in left.page("/")


def test_the_overview_says_that_kafka_does_not_answer_and_that_it_does_again(
    private_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(private_kafka, topic_name, tmp_path, settings=SETTINGS)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(Night(deployment.root).event(1))
        deployment.wait_done()
        assert wait_for_lag(worker, 0)["no_answer"] is None
        private_kafka.freeze()
        shown = wait_for_lag(worker, None)
        assert shown["no_answer"] == "Kafka has not answered within 3 s."
        assert shown["totals"]["datasets"] == 10  # what the worker says is still shown
        assert [each["pages"] for each in shown["workers"]] == [worker.url]
        assert "Kafka has not answered within 3 s." in worker.page("/")
        private_kafka.thaw()
        assert wait_for_lag(worker, 0)["no_answer"] is None
        worker.term()
        assert worker.wait() == 0


def test_pages_change_nothing_and_load_nothing_from_elsewhere(workers: list[Worker]) -> None:
    worker = workers[0]
    paths = [
        *PAGES,
        *DOCUMENTS,
        "/windows/x",
        "/dead-letters/x",
        "/api/v1/windows/x",
        "/static/pages.css",
    ]
    for path in paths:
        for method in ("POST", "PUT", "DELETE"):
            assert ask(worker, path, method)[0] == 405, (method, path)
        status, headers = ask(worker, path, "GET")
        assert status == (404 if path.endswith("/x") else 200), path
        assert headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(worker, "/nothing", "GET")[1]["X-Content-Type-Options"] == "nosniff"


def test_the_json_is_what_its_description_says(
    deployment: Deployment, workers: list[Worker]
) -> None:
    deployment.send(Night(deployment.root).event(1))
    deployment.cluster.produce(deployment.topic, b"no event", partition=0)
    deployment.wait_done()
    worker = workers[0]
    wait_until(lambda: document(worker, "dead-letters")["letters"], 30, "a letter")
    wait_until(lambda: document(worker, "windows")["flushes"], 30, "a flush")
    for each in workers:  # whichever keeps the table
        (chain,) = wait_until(lambda w=each: document(w, "chains")["chains"], 60, "a chain")  # type: ignore[misc]
        assert (chain["chain"], chain["datasets"], chain["events"]) == (CHAIN, 10, 1)
        assert [run["run"] for run in chain["runs"]] == [RUN]
        assert f'href="./chains/{CHAIN}"' in each.page("/chains")
        page = each.page(f"/chains/{CHAIN}")
        assert RUN in page
        assert f'href="{"../" * (CHAIN.count("/") + 1)}chains"' in page
    description = document(worker, "openapi.json")
    names = {
        "{batch_id}": document(worker, "windows")["flushes"][0]["batch_id"],
        "{chain}": quote(CHAIN),
        "{letter}": document(worker, "dead-letters")["letters"][0]["id"],
    }
    for path, described in description["paths"].items():
        schema = described["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": description["components"]}
        address = path
        for name, value in names.items():
            address = address.replace(name, value)
        jsonschema.validate(json.loads(worker.page(address)), whole)
    routes = {path for path in routes_of_pages() if path.startswith("/api/v1/")}
    assert {*description["paths"], "/api/v1/openapi.json"} == routes


def routes_of_pages() -> set[str]:
    """Return the paths of all pages, as their modules name them."""
    found: set[str] = set()
    for module in (CHECKOUT / "app" / "web").glob("*.py"):
        found.update(re.findall(r'@app\.page\("([^"]+)"', module.read_text()))
    return {path.replace(":.+}", "}") for path in found}


def ask(worker: Worker, path: str, method: str) -> tuple[int, Any]:
    """Return the status and the headers of an answer."""
    request = urllib.request.Request(worker.url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers
