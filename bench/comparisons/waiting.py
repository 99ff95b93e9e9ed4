"""Restarts of a downstream worker with millions of datasets that wait."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import orjson
import psutil
from confluent_kafka import Producer

from bench.repositories import Repositories
from bench.result import Result, Table
from bench.service import peak_memory
from bench.target import Target
from testbed.kafka import ApacheKafka
from testbed.worker import Worker

__all__ = ["DATASETS_OF_AN_ENTRY", "RULES", "entries", "run"]

RULES = '- dataset_types: ["*"]\n  embargo_hours: 80\n'

#: Datasets of an event that wait, each of another type.  Each event is a message of its own, which
#: makes the most entries; windows of more events have one entry for all of them.
_TYPES = tuple(f"waiting_{number}" for number in range(18))

DATASETS_OF_AN_ENTRY = len(_TYPES)

_DATASETS = (3_000_000, 10_000_000)

_PARTITIONS = 6
_HOUR = 3_600 * 1_000_000_000

#: Seconds after which a start has failed.
_PATIENCE = 600.0


def run(*, quick: bool) -> Result:
    """Start a worker with ever more datasets that wait; measure its memory, and until it is ready.

    Nothing of it is due, and the log has no message that it has not read.
    """
    result = Result("waiting")
    with Repositories() as repositories, ApacheKafka() as kafka:
        _restarts(repositories, kafka, result, quick=quick)
    return result


def _restarts(
    repositories: Repositories, kafka: ApacheKafka, result: Result, *, quick: bool
) -> None:
    topic = "restart-pp-output"
    kafka.create_topic(f"{topic}-products", _PARTITIONS)
    settings = {
        "KAFKA_CLUSTER": kafka.bootstrap,
        "KAFKA_TOPIC": topic,
        "BUTLER_WRITER_KAFKA_GROUP": "restart",
    }
    target = Target(repositories, "direct", settings, rules=RULES)
    changelog = f"restart-replicate-{target.name}-waiting-changelog"
    table = Table(
        ["datasets that wait", "entries", "ready after (s)", "memory (MiB)", "peak (MiB)"]
    )
    raw = []
    with target:
        number = 0
        for datasets in (0, *_DATASETS[: 1 if quick else None]):
            target.worker.term()
            target.worker.wait()
            more = datasets // DATASETS_OF_AN_ENTRY - number
            _send(kafka, changelog, number, more)
            number += more
            measured = {"datasets": datasets, "entries": number, **_start(target.worker, number)}
            table.add(
                f"{datasets:,}",
                f"{number:,}",
                f"{measured['seconds']:.1f}",
                *(f"{measured[name] / 2**20:.0f}" for name in ("rss", "peak")),
            )
            raw.append(measured)
            if datasets:
                million = f"{datasets // 1_000_000}M"
                result.figures[f"restart_{million}_waiting_s"] = measured["seconds"]
                result.figures[f"memory_{million}_waiting_mib"] = measured["rss"] / 2**20
    result.tables.append(table)
    result.raw["restarts"] = raw


def _start(worker: Worker, number: int) -> dict[str, float]:
    """Start a worker; return the seconds until it has all entries, and its memory in bytes."""
    began = time.monotonic()
    worker.start()
    worker.wait_for_log(rf'"messages": {number}\b.*what waits is restored', _PATIENCE)
    worker.wait_ready()
    seconds = time.monotonic() - began
    memory = psutil.Process(worker.process.pid).memory_info().rss
    return {"seconds": seconds, "rss": memory, "peak": peak_memory(worker)}


def _send(kafka: ApacheKafka, changelog: str, first: int, number: int) -> None:
    """Add entries to the changelog, as a worker writes them."""
    producer = Producer({**kafka.client_config, "linger.ms": 50, "acks": "all"})
    for key, value in entries(first, number):
        producer.produce(changelog, value, key=key, partition=0)
        if producer.poll(0) == 0 and len(producer) > 50_000:
            producer.flush()
    if left := producer.flush(120):
        raise TimeoutError(f"{left} entries were not delivered")


def entries(first: int, number: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of entries that are due within the next 80 hours."""
    rules = hashlib.sha256(RULES.encode()).hexdigest()[:16]
    value = orjson.dumps({"rules": rules, "datasets": dict.fromkeys(_TYPES, 1)})
    soon = time.time_ns() + _HOUR
    for entry in range(first, first + number):
        due = soon + entry * 79 * _HOUR // max(1, first + number)
        key = f"{entry % _PARTITIONS}-{entry // _PARTITIONS}-{due}"
        yield orjson.dumps(key), value
