"""Connections that nobody uses stop neither the probes nor the writing."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import psutil

from testbed.embedded import EmbeddedBroker
from testbed.waiting import wait_until
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written


def test_probes_and_writes_go_on_with_a_thousand_idle_connections(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    """The worker may have 700 files; half of the connections send a part of a request."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    event = Night(deployment.root).event()
    with deployment.worker() as worker, ExitStack() as stack:
        worker.wait_ready()
        process = psutil.Process(worker.process.pid)
        process.rlimit(psutil.RLIMIT_NOFILE, (700, 700))
        for number in range(1000):
            idle = socket.create_connection(("127.0.0.1", worker.port), timeout=10)
            stack.enter_context(idle)
            if number % 2:
                idle.sendall(b"GET /livez HTTP/1.1\r\nHost:")
        assert worker.status("/livez") == 200
        deployment.send(event)
        deployment.wait_done()
        assert worker.status("/readyz") == 200
        wait_until(lambda: process.num_fds() < 450, 20, lambda: f"{process.num_fds()} files")
    check_all_written(deployment, [event])
