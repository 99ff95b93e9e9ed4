"""The pages of several workers: each shows all of them, with the numbers of Kafka and database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import jsonschema
import psycopg
import pytest
from markupsafe import escape

from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, RUN, Night
from tests.support.flow import locked, streaming
from tests.support.web import answer, routes

pytestmark = pytest.mark.kafka

PAGES = ("/", "/windows", "/chains", "/dead-letters", "/workers", "/settings", "/about")

#: Seconds that an answer may take on a busy machine besides those that the worker waits.
MARGIN = 2.0
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
    """Three workers for two partitions, so the last one is a spare worker."""
    with ExitStack() as stack:
        started = [stack.enter_context(deployment.worker()) for _ in range(3)]
        for worker in started:
            worker.wait_ready()
        wait_until(
            lambda: sorted(len(each.partitions()) for each in started) == [0, 1, 1],
            120,
            "each partition is read",
        )
        yield sorted(started, key=lambda each: -len(each.partitions()))


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
    spare = workers[-1]
    for worker in workers:
        wait_until(
            lambda w=worker: (
                {each["pages"]: each["partitions"] for each in members(w)}  # type: ignore[misc]
                == {each.url: partition_numbers(each) for each in workers}
            ),
            30,
            "all three, each with its partitions",
        )
        assert "spare" in worker.page("/workers")
    assert partition_numbers(spare) == []
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
            check_under_load(deployment, worker)
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
        assert {each["owner"] for each in found.values()} == {*names} - {spare.url}
        assert f"{expected:,} since the start" in worker.page("/")


def members(worker: Worker) -> list[dict[str, Any]]:
    """Return the workers that a worker shows."""
    found: list[dict[str, Any]] = document(worker, "workers")["workers"]
    return found


def partition_numbers(worker: Worker) -> list[int]:
    """Return the partitions that a worker says it reads."""
    return sorted(int(name.rpartition("-")[2]) for name in worker.partitions())


def check_under_load(deployment: Deployment, worker: Worker) -> None:
    """Compare what a worker shows while events flow with Kafka and the database.

    All numbers grow, so what is shown lies between what was there before and after it was found.
    """
    cluster, topic = deployment.cluster, deployment.topic
    wait_until(
        lambda: len(cluster.committed(deployment.group, topic)) == deployment.partitions,
        60,
        "a committed offset of each partition",
    )
    committed, ends = cluster.committed(deployment.group, topic), cluster.end_offsets(topic)
    for _ in range(2):  # a look that had begun before may be shown next, but not after that
        before = document(worker, "overview")["at"]
        wait_until(
            lambda at=before: document(worker, "overview")["at"] > at,  # type: ignore[misc]
            30,
            "another look",
        )
    shown = document(worker, "overview")
    stored = stored_datasets(deployment)
    later, end = cluster.committed(deployment.group, topic), cluster.end_offsets(topic)
    assert shown["no_answer"] is None
    for each in shown["partitions"]:
        number = each["partition"]
        assert committed[number] <= each["committed"] <= later[number]
        assert ends[number] <= each["end"] <= end[number]
        assert each["lag"] == each["end"] - each["committed"]
    assert shown["lag"] == sum(each["lag"] for each in shown["partitions"])
    assert 10 * sum(committed.values()) <= shown["totals"]["inserted"] <= stored


def test_each_page_of_each_worker_shows_all_workers_flushes_and_chains(
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
        lambda: (
            [sum(each["events"] for each in flushes(worker)) for worker in workers] == [7, 7, 7]
        ),
        30,
        "all flushes on both",
    )
    batches = [[(each["worker"], each["batch_id"]) for each in flushes(w)] for w in workers]
    assert sorted(batches[0]) == sorted(batches[1])
    assert {name for name, _ in batches[0]} == {each.url for each in workers[:2]}
    for worker in workers:
        overview, windows, listed = (worker.page(path) for path in ("/", "/windows", "/workers"))
        for name in names:
            assert name.removeprefix("http://") in overview
            assert f'href="{name}/"' in listed
        seen: dict[tuple[int, int], dict[str, Any]] = {}
        for _, batch in batches[0]:
            assert f"./windows/{batch}" in windows
            assert "keep_" not in windows  # a step of downstream repositories
            assert (
                f" · {deployment.group} · {worker.url.removeprefix('http://')}</title>" in windows
            )
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
    assert workers[0].status("/windows/00000000-0000-0000-0000-000000000000") == 404
    check_chains(workers)
    for worker in workers:
        check_description(worker)


def test_a_worker_that_hangs_or_was_killed_is_shown_so_and_holds_up_no_other(
    deployment: Deployment, workers: list[Worker]
) -> None:
    deployment.send(*(Night(deployment.root).event(1, n) for n in range(2)))
    deployment.wait_done()
    table = f"/table/chains/{quote(CHAIN, safe='')}/"
    killed = wait_until(lambda: keeper(workers), 60, "the chain is in the table")
    assert killed is not None
    left = [worker for worker in workers if worker is not killed]
    for worker in workers:
        assert document(worker, "overview")["reasons"] == []
        assert json.loads(worker.page(table))["chain"] == CHAIN
    (partition,) = partition_numbers(killed)

    killed.stop_process()
    statuses = {
        **dict.fromkeys(("/", "/windows", "/chains", "/dead-letters", "/workers"), 200),
        f"/windows/{uuid4()}": 404,
        f"/chains/{CHAIN}": 503,
        table: 503,
    }
    for path, expected in statuses.items():
        started = time.monotonic()
        found = answer(left[0], path)
        assert time.monotonic() - started < 1 + MARGIN, path
        assert found.status == expected, path
    assert f"{killed.url} keeps the table and has not answered within 1 s" in found.text
    killed.continue_process()
    wait_until(lambda: document(left[0], "overview")["reasons"] == [], 30, "it answers again")

    killed.kill()
    since = time.monotonic()
    for worker in left:
        wait_until(lambda w=worker: is_silent(w, killed), 30, "no answer")  # type: ignore[misc]
    assert time.monotonic() - since < 5
    deployment.send(Night(deployment.root).event(2), partition=partition)
    sent_at = time.time()
    for worker in left:
        # Its owner cannot say since when the event waits.
        waits = wait_until(lambda w=worker: pending_events(w), 30, "an event that waits")  # type: ignore[misc]
        ((number, (owner, lag, oldest)),) = waits.items()
        assert (number, owner, lag) == (partition, killed.url, 1)
        assert oldest == pytest.approx(sent_at, abs=5)
        assert f"{killed.url} keeps the table and cannot be reached" in answer(worker, table).text
        shown = document(worker, "overview")
        assert shown["state"] in ("impaired", "stopped")
        assert any(f"The worker {killed.url} does not answer." in r for r in shown["reasons"])
        assert "does not answer" in worker.page("/")
        assert document(worker, "windows")["not_answering"] == [killed.url]
    for worker in left:
        wait_until(
            lambda w=worker: {w["pages"] for w in members(w)} == {each.url for each in left},  # type: ignore[misc]
            90,
            "the killed worker has left the group",
        )
    deployment.wait_done()
    for worker in left:
        wait_until(lambda w=worker: is_fine(w), 90, "nothing is wrong")  # type: ignore[misc]
        assert "Events are being written" in worker.page("/")
        assert json.loads(worker.page(table))["chain"] == CHAIN


def keeper(workers: list[Worker]) -> Worker | None:
    """Return the worker that keeps the table of chains, once it has one."""
    for worker in workers:
        if json.loads(worker.page("/state/chains"))["total"]:
            return worker
    return None


def pending_events(worker: Worker) -> dict[int, tuple[str, int, float]]:
    """Return the owner, the lag and the oldest event of each partition that has one."""
    return {
        each["partition"]: (each["owner"], each["lag"], each["oldest_pending"])
        for each in document(worker, "overview")["partitions"]
        if each["oldest_pending"] is not None
    }


def is_fine(worker: Worker) -> bool:
    """Return whether a worker shows that nothing is wrong, and that all events are written."""
    shown = document(worker, "overview")
    return (shown["reasons"], shown["lag"], shown["oldest_pending"]) == ([], 0, None)


def is_silent(worker: Worker, other: Worker) -> bool:
    """Return whether a worker shows that another one does not answer."""
    (found,) = [each for each in members(worker) if each["pages"] == other.url]
    return found["no_answer"] is not None


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
        letter = answer(worker, "/dead-letters/0-0")
        assert letter.status == 503
        assert "Kafka has not answered in time." in letter.text
        letters = worker.page("/dead-letters")
        assert "Kafka has not answered in time" in letters
        assert "could be read within 3 s" in letters
        private_kafka.thaw()
        assert wait_for_lag(worker, 0)["no_answer"] is None
        worker.term()
        assert worker.wait() == 0


def check_chains(workers: list[Worker]) -> None:
    """Check that each worker shows the chain, whichever keeps the table."""
    for each in workers:
        found = wait_until(
            lambda w=each: [c for c in document(w, "chains")["chains"] if c["events"] == 6],  # type: ignore[misc]
            60,
            "the chain with all events",
        )
        ((chain, total),) = [(chain, document(each, "chains")["total"]) for chain in found]
        assert (chain["chain"], chain["datasets"], chain["run_count"], total) == (CHAIN, 60, 1, 1)
        assert [run["run"] for run in chain["runs"]] == [RUN]
        assert f'href="./chains/{CHAIN}"' in each.page("/chains")
        for name in (CHAIN, quote(CHAIN, safe="")):
            page = each.page(f"/chains/{name}")
            assert RUN in page
            assert f'href="{"../" * (name.count("/") + 1)}chains"' in page
            assert document(each, f"chains/{name}") == chain
        status = each.status(f"/chains/{CHAIN}/none")
        assert status == 404


def check_description(worker: Worker) -> None:
    """Check that the JSON is what its description says, and that all of it is described."""
    wait_until(lambda: document(worker, "dead-letters")["letters"], 30, "a letter")
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
        if path == "/api/v1/waiting":  # test_embargo.py shows it
            assert worker.status(address) == 404
            continue
        jsonschema.validate(json.loads(worker.page(address)), whole)
    served = {path for path in routes() if path.startswith("/api/v1/")}
    assert {*description["paths"], "/api/v1/openapi.json"} == served
