"""``faust -A app status``: the state of the whole service, also without a worker."""

from __future__ import annotations

import time
from typing import Any

from app import app
from app.commands.operator_command import operator_command
from app.commands.output import Output, utc
from app.operations.status.lag import PartitionLag
from app.operations.status.service_status import ServiceStatus, service_status
from app.operations.status.worker_pages import WorkerReport

__all__ = ["status"]


@app.command()
async def status(command: Any) -> None:
    """Show the group, its workers, the lag of each partition, and the dead letters.

    It asks the brokers, and then the pages of each worker that can be reached from here; it works
    without any worker.  The exit code is 1 if there is no worker, a worker is not ready, or a
    partition has no worker, and 2 if the brokers cannot be asked.  Nothing is changed.
    """
    with operator_command(command) as output:
        found = await service_status(app.connection, app.settings.kafka)
        _show(output, found)
        output.document(_document(found))
    if found.findings:
        raise SystemExit(1)


def _show(output: Output, found: ServiceStatus) -> None:
    now = time.time()
    lag = sum(each.lag for each in found.partitions)
    output.line(
        f"group {found.group.name}: {found.group.state}, members={len(found.workers)} lag={lag}"
    )
    if found.workers:
        output.table(
            ("worker", "partitions", "ready", "version"),
            [_worker_row(found, report) for report in found.workers],
        )
    output.table(
        ("partition", "owner", "committed", "end", "lag", "oldest pending event"),
        [_partition_row(found, each, now) for each in found.partitions],
    )
    if found.letters is None:
        output.line("dead letters: there is no topic for them yet")
    else:
        output.line(f"dead letters: {found.letters}")
    for report in found.workers:
        if error := report.last_error:
            last = f"{utc(error['at'])} {error['step']}: {error['error']}"
            output.line(f"last error of {_name(report)}: {last}")
    for finding in found.findings:
        output.line(f"finding: {finding}")


def _worker_row(found: ServiceStatus, report: WorkerReport) -> tuple[object, ...]:
    ready = {True: "yes", False: "no", None: "not reachable"}[report.is_ready]
    partitions = ",".join(map(str, report.member.partitions.get(found.topic, ())))
    return (_name(report), partitions or "spare", ready, report.version)


def _name(report: WorkerReport) -> str:
    return report.member.pages or f"{report.member.client} at {report.member.host}"


def _partition_row(found: ServiceStatus, each: PartitionLag, now: float) -> tuple[object, ...]:
    owner = found.group.owner(found.topic, each.partition)
    oldest = each.oldest
    return (
        f"{found.topic}-{each.partition}",
        "none" if owner is None else owner.pages or owner.host,
        "none" if each.committed is None else each.committed,
        each.end,
        each.lag,
        "" if oldest is None else f"{utc(oldest)} ({now - oldest:.0f} s old)",
    )


def _document(found: ServiceStatus) -> dict[str, Any]:
    now = time.time()
    return {
        "group": {
            "name": found.group.name,
            "state": found.group.state,
            "protocol": found.group.protocol,
        },
        "workers": [
            {
                "client": report.member.client,
                "host": report.member.host,
                "pages": report.member.pages,
                "partitions": report.member.partitions.get(found.topic, []),
                "ready": report.is_ready,
                "not_ready": report.not_ready,
                "version": report.version,
                "last_error": report.last_error,
            }
            for report in found.workers
        ],
        "partitions": [
            {
                "partition": each.partition,
                "owner": (owner := found.group.owner(found.topic, each.partition))
                and (owner.pages or owner.host),
                "committed": each.committed,
                "end": each.end,
                "lag": each.lag,
                "oldest_seconds": None if each.oldest is None else now - each.oldest,
            }
            for each in found.partitions
        ],
        "lag": sum(each.lag for each in found.partitions),
        "dead_letters": found.letters and found.letters.by_cause,
        "dead_letters_complete": found.letters is None or found.letters.is_complete,
        "findings": found.findings,
    }
