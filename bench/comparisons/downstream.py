"""A downstream repository: its rate by transfer, its load on databases, and its delay.

The workers are real ones.  Those that do not work at the moment are frozen, so that each has the
machine, and they work in turn, on the same events.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from threading import Thread
from uuid import UUID

import cramjam

from bench.comparisons.end_to_end import Load, start
from bench.measuring import quantile, spread
from bench.repositories import MOST_DATASETS, Repositories
from bench.result import Result, Table
from bench.service import Run, watch
from bench.target import Target, statements
from bench.workload import datasets_of
from simulator.camera import DETECTORS
from testbed.kafka import ApacheKafka
from testbed.worker import Worker

__all__ = ["run"]

_TRANSFERS = ("direct", "in-place", "copy")
_MAIN = "the events of pods"
_ROUNDS = 3
_VISITS = 4

#: Events of a window of the first worker, as at a steady load: each is a message of the log.
_WINDOW = 100

#: The backlog after a restart, in loads of that many visits: 302,400 datasets.
_BACKLOG = 4

#: Seconds after which Kafka gives the partitions of a frozen worker to others.
_FROZEN = 900

#: The steady load: events/s, and its events.
_RATE = 5.0
_STEADY = 200


def run(*, quick: bool) -> Result:
    """Measure rates, the load on databases, and the delay."""
    result = Result("downstream")
    with Repositories() as repositories, ApacheKafka() as kafka, ExitStack() as stack:
        load = start(
            stack,
            repositories,
            kafka,
            MOST_DATASETS,
            window_events=_WINDOW,
            session_timeout=_FROZEN,
        )
        targets = {
            transfer: stack.enter_context(Target(repositories, transfer, _settings(load, kafka)))
            for transfer in _TRANSFERS
        }
        _catch_up(load, targets)
        _rates(load, targets, repositories, result, rounds=1 if quick else _ROUNDS)
        steady_since = _delay(load, targets["direct"], result)
        for transfer in ("in-place", "copy"):
            targets[transfer].follow(load.service.sent)
        _sizes(load, kafka, steady_since, result)
        _verify(load, targets)
        direct = targets["direct"]
        _backlog(load, direct, result, loads=1 if quick else _BACKLOG)
        _verify(load, {"direct": direct})
    return result


def _settings(load: Load, kafka: ApacheKafka) -> dict[str, str]:
    return {
        "KAFKA_CLUSTER": kafka.bootstrap,
        "KAFKA_TOPIC": load.service.topic,
        "BUTLER_WRITER_KAFKA_GROUP": load.service.name,
        "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": str(_FROZEN),
    }


def _catch_up(load: Load, targets: Mapping[str, Target]) -> None:
    """Wait until all targets have what was written first, which fills their caches; freeze them."""
    for target in targets.values():
        target.follow(load.service.sent)


def _rates(
    load: Load,
    targets: Mapping[str, Target],
    repositories: Repositories,
    result: Result,
    *,
    rounds: int,
) -> None:
    """Let the first worker write, then each target's worker follow, in turn."""
    (worker,) = load.service.workers
    runs: dict[str, list[Run]] = {_MAIN: [], **{transfer: [] for transfer in targets}}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    at_source, in_target, number = 0, 0, 0
    server = repositories.server
    for turn in range(rounds):
        before = len(load.values)
        runs[_MAIN].append(load.burst(_VISITS * len(DETECTORS)))
        load.service.wait_acked()
        values = load.values[before:]
        per_event = datasets_of(values) / len(values)
        with frozen(worker):
            source = statements(server, load.service.repository.database)
            for transfer in list(targets)[:: -1 if turn % 2 else 1]:
                target = targets[transfer]
                begin = statements(server, target.name)
                runs[transfer].append(target.follow(load.service.sent))
                in_target += statements(server, target.name) - begin
                number += datasets_of(values)
            at_source += statements(server, load.service.repository.database) - source
        for name, each in rates.items():
            each.append(per_event * _rate(runs[name][-1]))
    table = Table(["a worker writes", "datasets/s", "relative to the first", "CPU idle"])
    for name, each in rates.items():
        ratio = median(a / b for a, b in zip(each, rates[_MAIN], strict=True))
        label = name if name == _MAIN else f"the log, `{name}`"
        idle = median(run.idle for run in runs[name])
        table.add(label, spread(each), f"{ratio:.2f}", f"{idle:.0%}")
        if name != _MAIN:
            result.figures[f"replicate_{name.replace('-', '_')}_vs_write"] = ratio
            result.figures[f"replicate_{name.replace('-', '_')}"] = median(each)
    result.tables.append(table)
    result.raw["runs"] = {name: [vars(run) for run in each] for name, each in runs.items()}
    result.raw["rates"] = rates
    result.figures["source_statements_per_dataset"] = at_source / number
    result.figures["target_statements_per_dataset"] = in_target / number


def _rate(run: Run) -> float:
    """Return the events per second between a tenth and four fifths of a load."""
    begin, end = run.middle
    return (end.events - begin.events) / (end.at - begin.at)


@contextmanager
def frozen(worker: Worker) -> Iterator[None]:
    """Freeze a worker."""
    worker.stop_process()
    try:
        yield
    finally:
        worker.continue_process()


def _delay(load: Load, target: Target, result: Result) -> float:
    """Measure the time from a pod's send to the target; return when the load began."""
    began = time.time()
    pods = load.workload.pods(load.visit, _STEADY)
    load.visit = pods[-1].visit.number + 1
    load.service.sent.clear()
    run = Run()
    watching = Thread(target=watch, args=(target.connect, _STEADY, load.service.sent, run))
    target.worker.continue_process()
    watching.start()
    load.send([(number / _RATE, pod) for number, pod in enumerate(pods)])
    watching.join()
    target.worker.stop_process()
    table = Table(
        [f"at {_RATE:.0f} events/s, from the send until a dataset is in", "p50", "p99", "maximum"]
    )
    latencies = {"the source": load.runs[-1].latencies, "the target": run.latencies}
    for name, seconds in latencies.items():
        cells = (median(seconds), quantile(seconds, 0.99), max(seconds))
        table.add(name, *(f"{each:.2f} s" for each in cells))
    result.tables.append(table)
    result.raw["delay"] = latencies
    result.figures["downstream_delay_max_s"] = max(run.latencies)
    return began


def _backlog(load: Load, target: Target, result: Result, *, loads: int) -> None:
    """Measure how fast a worker writes what was logged while it was stopped."""
    (worker,) = load.service.workers
    target.worker.continue_process()
    target.worker.term()
    target.worker.wait()
    last: list[UUID] = []
    number = 0
    for _ in range(loads):
        before = len(load.values)
        load.burst(_VISITS * len(DETECTORS))
        last += load.service.sent
        number += datasets_of(load.values[before:])
        del load.values[before:]  # half a gigabyte
    load.service.wait_acked()
    with frozen(worker):
        run = target.follow(last, is_stopped=True)
    rate = number / len(last) * _rate(run)
    table = Table([f"a backlog of {number} datasets, `direct`", ""])
    table.add("from the start of the process until all are in the target", f"{run.seconds:.0f} s")
    table.add("from a tenth to four fifths of them", f"{rate:.0f} datasets/s")
    table.add("CPU idle", f"{run.idle:.0%}")
    result.tables.append(table)
    result.raw["backlog"] = {"datasets": number, **vars(run)}
    result.figures["downstream_backlog"] = rate
    result.figures["downstream_backlog_s"] = run.seconds


def _sizes(load: Load, kafka: ApacheKafka, steady_since: float, result: Result) -> None:
    """Measure the bytes that the log has for each dataset."""
    table = Table(["product log, windows of", "messages", "bytes a dataset", "with zstd"])
    messages = kafka.consume(f"{load.service.topic}-products")
    is_steady = {id(m): m.timestamp_ms >= 1000 * steady_since for m in messages}
    for name, steady in (("a load at once", False), (f"{_RATE:.0f} events/s", True)):
        values = [m.value for m in messages if m.value and is_steady[id(m)] is steady]
        number = datasets_of(values)
        plain = sum(map(len, values)) / number
        # The level that a broker uses; a broker compresses messages one by one, or a few together.
        packed = sum(len(cramjam.zstd.compress(value, level=3)) for value in values) / number
        table.add(name, len(values), f"{plain:.0f}", f"{packed:.0f}")
        result.raw[f"bytes, {name}"] = {"plain": plain, "zstd": packed}
        if not steady:
            result.figures["log_bytes_per_dataset"] = plain
            result.figures["log_bytes_per_dataset_zstd"] = packed
    result.tables.append(table)


def _verify(load: Load, targets: Mapping[str, Target]) -> None:
    """Check that each target has what the source has, once."""
    with load.service.repository.connect() as connection:
        rows = connection.execute("SELECT dataset_id, path FROM file_datastore_records").fetchall()
    for transfer, target in targets.items():
        found = target.records()
        assert len(found) == len(rows), (transfer, len(found), len(rows))
        # If they stay where they are, the target has absolute paths.
        fields = slice(1 if transfer == "direct" else 2)
        assert {row[fields] for row in found} == {row[fields] for row in rows}, transfer
