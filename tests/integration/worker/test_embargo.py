"""What is under embargo waits, and is released when it is due, whatever happens to workers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
import sqlalchemy
from confluent_kafka import TopicPartition
from lsst.daf.butler import Butler
from prometheus_client.parser import text_string_to_metric_families

from app.butler.private.registry import engine_of
from models.product import Products
from testbed.cluster import Cluster, Message
from testbed.tables import check_same, tables_of
from testbed.waiting import wait_until
from testbed.worker import Worker, faust_command
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events, selected
from tests.support.events import DETECTORS, Night
from tests.support.product_import import import_products

#: The end of every visit of a `Night`: 2026-11-24T02:00:30 TAI, in seconds of Unix time.
END = 1_795_485_630 - 37

#: A time at which the visits are just over.
EVENING = END + 60

HOUR = 3600

CLOCK = str(Path(__file__).parents[2] / "support" / "clock")

RULES = """
- dataset_types: ["*_log"]
  embargo_hours: {hours}
- dataset_types: ["post_isr_summary"]
  exclude: true
- dataset_types: ["*_metadata", "single_visit_summary"]
  embargo_hours: 0
"""

RELEASED_AT_ONCE = ("*_metadata", "single_visit_summary")
RELEASED = ("*_log", *RELEASED_AT_ONCE)

PAGES = ("/", "/windows", "/waiting", "/state", "/state/waiting", "/api/v1/overview", "/metrics")


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path, postgresql_url: str) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, database=postgresql_url)


@dataclass
class Clock:
    """The workers' clock, which the test sets; times are in seconds of Unix time."""

    file: Path

    def set(self, moment: float) -> None:
        """Set the clock to a moment; it goes on from there."""
        new = self.file.with_suffix(".new")
        new.write_text(str(int((moment - time.time()) * 1e9)))
        new.replace(self.file)

    def now(self) -> float:
        return time.time() + int(self.file.read_text()) / 1e9


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    clock = Clock(tmp_path / "clock")
    clock.set(EVENING)
    return clock


def with_rules(downstream: Downstream, clock: Clock, hours: float) -> None:
    """Write rules with an embargo for logs, and give the workers the clock."""
    rules = downstream.root.parent / "rules.yaml"
    rules.write_text(RULES.format(hours=hours))
    downstream.settings |= {
        "BUTLER_WRITER_RULES": str(rules),
        "PYTHONPATH": CLOCK,
        "CLOCK_FILE": str(clock.file),
    }


def ids(messages: Iterable[Products]) -> set[str]:
    return {i for message in messages for file in message.datasets for i in file["refs"]}


def stored(downstream: Downstream) -> set[str]:
    with engine_of(downstream.butler()).connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT id FROM dataset")).scalars()
        return {str(UUID(str(each))) for each in found}


def metrics(worker: Worker) -> dict[str, float]:
    families = text_string_to_metric_families(worker.page("/metrics"))
    return {
        sample.name.removeprefix("butler_writer_") + "".join(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def waiting(worker: Worker) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(worker.page("/api/v1/waiting"))
    return found


def check_waiting(found: dict[str, Any], later: list[Products], at_once: list[Products]) -> None:
    """Check the page of what waits: counts by hour and type."""
    due = END + 80 * HOUR
    end = (due // HOUR + 1) * HOUR  # to the second, it would tell when the observation ended
    assert (found["next_due"], found["held"], found["not_answering"]) == (end, {}, [])
    types = Counter(
        ref["dataset_type_name"]
        for message in later
        for file in message.datasets
        for ref in file["refs"].values()
    )
    assert found["hours"] == [{"begin": due // HOUR * HOUR, "datasets": types}]
    assert found["without_rule"] == {"dia_source_summary": 2 * DETECTORS}
    assert sum(release["datasets"] for release in found["releases"]) == len(ids(at_once))


def check_described(worker: Worker) -> None:
    """Check that the JSON of what waits is what its description says."""
    description = json.loads(worker.page("/api/v1/openapi.json"))
    for path in ("/api/v1/waiting", "/api/v1/overview"):
        found = description["paths"][path]["get"]["responses"]["200"]
        schema = found["content"]["application/json"]["schema"]
        whole = {**schema, "components": description["components"]}
        jsonschema.validate(json.loads(worker.page(path)), whole)


def check_nothing_of(downstream: Downstream, messages: list[Products], *said: str) -> None:
    """Check that nothing of the datasets of messages is in the target, nor in what workers say."""
    dataset_ids = {form for i in ids(messages) for form in (i, i.replace("-", ""))}
    paths = {file["path"] for message in messages for file in message.datasets}
    rows = "\n".join(row for rows in downstream.tables().values() for row in rows)
    for secret in (*dataset_ids, *paths):
        assert secret not in rows
        assert all(secret not in text for text in said)
    assert not any((downstream.root / path).exists() for path in paths)


def test_an_embargo_holds_over_kills_and_ends_on_time(
    deployment: Deployment, clock: Clock, tmp_path: Path
) -> None:
    night = Night(deployment.root)
    windows = [[night.event(visit, d) for d in range(DETECTORS)] for visit in (1, 2)]
    messages = log_events(deployment, *windows)
    downstream = Downstream(deployment, tmp_path / "public")
    with_rules(downstream, clock, hours=80)
    at_once, later = (selected(messages, *types) for types in (RELEASED_AT_ONCE, ("*_log",)))
    hidden = selected(messages, "*_log", "post_isr_summary", "dia_source_summary")

    with downstream.worker() as worker:
        downstream.wait_done()
        assert stored(downstream) == ids(at_once)
        wait_until(lambda: metrics(worker)["waiting_datasets"] == len(ids(later)), 10, str)
        assert metrics(worker)["excluded_datasets_totalno_rule"] == 2 * DETECTORS
        assert metrics(worker)["types_without_rule"] == 1
        assert metrics(worker)["retention_problem"] == 0
        wait_until(lambda: waiting(worker)["datasets"] == len(ids(later)), 10, str)
        check_waiting(waiting(worker), later, at_once)
        check_described(worker)
        pages = [worker.page(page) for page in PAGES]
        check_nothing_of(downstream, hidden, worker.log_text(), *pages)
        assert worker.log_text().count("no rule for a dataset type") == 1
        worker.process.kill()
    shown = faust_command(downstream.environment, "--json", "products", "waiting")
    assert shown.returncode == 1, shown.stderr  # a type has no rule
    check_nothing_of(downstream, hidden, shown.stdout)
    document = json.loads(shown.stdout)
    assert {(each["hour"], each["datasets"]) for each in document["waiting"]} == {
        ("2026-11-27T09:00:00", 2 * DETECTORS)
    }
    assert [each["dataset_type"] for each in document["waiting"]] == [
        "association_log",
        "calibrate_log",
        "isr_log",
        "preload_log",
    ]
    assert document["no_rule"] == ["dia_source_summary"]
    assert (document["held"], document["by_other_rules"]) == ({}, 0)
    clock.set(END + 80 * HOUR - 60)
    with downstream.worker() as worker:
        worker.wait_for_log("what waits is restored")
        wait_until(lambda: metrics(worker)["types_without_rule"] == 1, 10, worker.log_text)
        assert waiting(worker)["without_rule"] == {"dia_source_summary": 0}
        check_nothing_of(downstream, hidden, worker.log_text(), worker.page("/metrics"))
        clock.set(END + 80 * HOUR - 3)
        while clock.now() < END + 80 * HOUR - 0.5:
            assert stored(downstream) == ids(at_once)
        wait_until(lambda: stored(downstream) != ids(at_once), 30, worker.log_text)
        assert clock.now() >= END + 80 * HOUR
        wait_until(lambda: stored(downstream) == ids(at_once) | ids(later), 30, worker.log_text)
        wait_until(lambda: metrics(worker)["waiting_messages"] == 0, 10, str)
    assert downstream.dead_letters() == []
    Butler.makeRepo(str(tmp_path / "expected"))
    with Butler.from_config(str(tmp_path / "expected"), writeable=True) as expected:
        import_products(expected, selected(messages, *RELEASED), deployment.root)
        check_same(downstream.tables(), tables_of(engine_of(expected)))


@pytest.mark.slow
@pytest.mark.kafka
def test_what_cannot_be_released_any_more_holds_up_nothing_else(
    deployment: Deployment, clock: Clock, tmp_path: Path
) -> None:
    """A message that retention has removed, and a file that is gone, become dead letters."""
    night = Night(deployment.root)
    windows = [[night.event(visit, d) for d in range(2)] for visit in (1, 2, 3)]
    removed, *left = log_events(deployment, *windows)
    downstream = Downstream(deployment, tmp_path / "public")
    with_rules(downstream, clock, hours=80)
    at_once = ids(selected([removed, *left], *RELEASED_AT_ONCE))
    waiting = selected(left, "*_log")
    gone = waiting[0].datasets[0]
    released = f"{deployment.topic}-released"
    with (
        downstream.worker(BUTLER_WRITER_PRODUCTS_TOPIC=released) as first,
        downstream.worker(BUTLER_WRITER_PRODUCTS_TOPIC=released) as second,
    ):
        for worker in (first, second):
            worker.wait_ready()
        downstream.wait_done()
        assert stored(downstream) == at_once
        (at,) = {message.partition for message in log_messages(deployment)}
        deleted = TopicPartition(deployment.product_topic, at, 1)
        deployment.cluster.admin.delete_records([deleted])[
            TopicPartition(deployment.product_topic, at)
        ].result(20)
        (deployment.root / gone["path"]).unlink()
        first.process.kill()  # whichever had the partition
        second.process.kill()
        second.start()
        second.wait_for_log("what waits is restored")
        clock.set(END + 80 * HOUR)
        expected = at_once | (ids(waiting) - set(gone["refs"]))
        wait_until(lambda: stored(downstream) == expected, 60, second.log_text)
        wait_until(lambda: len(downstream.dead_letters()) == 2, 30, second.log_text)
        wait_until(lambda: metrics(second)["waiting_messages"] == 0, 10, second.log_text)
    letters = [dict(letter.headers) for letter in downstream.dead_letters()]
    causes = {letter["error_class"]: letter["offset"] for letter in letters}
    assert causes == {b"removed_message": b"0", b"missing_source_file": b"1"}
    # What was released is in the log of the second hop.
    logged = [Products.decode(m.value) for m in deployment.cluster.consume(released)]
    assert ids(logged) == expected


def log_messages(deployment: Deployment) -> list[Message]:
    return deployment.cluster.consume(deployment.product_topic)


@pytest.mark.slow
def test_rules_that_are_changed_count_from_the_restart_on(
    deployment: Deployment, clock: Clock, tmp_path: Path
) -> None:
    night = Night(deployment.root)
    messages = log_events(deployment, [night.event(1, d) for d in range(2)])
    downstream = Downstream(deployment, tmp_path / "public")
    with_rules(downstream, clock, hours=80)
    with downstream.worker() as worker:
        downstream.wait_done()
        assert stored(downstream) == ids(selected(messages, *RELEASED_AT_ONCE))
        with_rules(downstream, clock, hours=0)
        worker.term()
        assert worker.wait() == 0
        worker.start()
        expected = ids(selected(messages, *RELEASED))
        wait_until(lambda: stored(downstream) == expected, 60, worker.log_text)


@pytest.mark.slow
def test_in_quiet_hours_what_is_due_waits_and_what_has_no_embargo_does_not(
    deployment: Deployment, clock: Clock, tmp_path: Path
) -> None:
    night = Night(deployment.root)
    messages = log_events(deployment, [night.event(1, d) for d in range(2)])
    downstream = Downstream(deployment, tmp_path / "public")
    with_rules(downstream, clock, hours=80)  # until 09:59:53
    clock.set(END + 80 * HOUR + 60)
    at_once = ids(selected(messages, *RELEASED_AT_ONCE))
    with downstream.worker(BUTLER_WRITER_QUIET_HOURS="09:00-10:02") as worker:
        downstream.wait_done()
        assert stored(downstream) == at_once
        wait_until(lambda: metrics(worker)["waiting_datasets"] > 0, 10, worker.log_text)
        assert metrics(worker)["overdue_seconds"] == 0
        clock.set(END + 80 * HOUR + 7 + 120)
        expected = ids(selected(messages, *RELEASED))
        wait_until(lambda: stored(downstream) == expected, 60, worker.log_text)
        assert clock.now() >= END + 80 * HOUR + 7 + 120
    assert downstream.dead_letters() == []
