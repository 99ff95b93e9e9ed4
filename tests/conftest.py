"""Fixtures for the servers, and the rule for servers that this machine cannot run.

If a server is missing, the tests that need it are skipped, and the last lines of the output name it
with the reason. With ``CI=true``, a missing server or any other skipped test is a failure.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, settings

from app import COLLECTOR_THRESHOLDS
from testbed.availability import ServerUnavailableError
from testbed.brokers import choose, why_not_apache_kafka
from testbed.chromium_program import Chromium, find_chromium
from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.go_programs import find_go_program
from testbed.kafka import ApacheKafka
from testbed.nginx_program import find_nginx
from testbed.postgresql import PostgreSQL
from testbed.prometheus_programs import find_prometheus
from testbed.s3 import S3Door, S3Server
from tests.support.buckets import Bucket

# No test depends on timing: a busy machine is not a defect.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# As in a worker.  With Python's own, collection takes a tenth of the tests' processor time.
gc.set_threshold(*COLLECTOR_THRESHOLDS)

# Not the tracebacks with local variables, which take seconds for each exception.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)

#: A test's property that is printed at the end, for information only.
FIGURE = "figure"

_CI = os.environ.get("CI") == "true"
_NEEDS = "every test that needs "
_numbers = count(1)

Server = TypeVar("Server")


def _skip(name: str, reason: str) -> NoReturn:
    """Skip the test that needs a server that cannot run here; in CI, fail it."""
    if _CI:
        pytest.fail(f"{name} is required in CI: {reason}")
    pytest.skip(f"{_NEEDS}{name} ({reason})")


@contextmanager
def _running(name: str, make: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    """Run a server, or skip the test."""
    try:
        server = make()
    except ServerUnavailableError as reason:
        _skip(name, str(reason))
    with server as running:
        yield running


@pytest.fixture(scope="session")
def broker() -> Iterator[Cluster]:
    """A broker that this machine can run.  It is shared: use your own topics and groups."""
    with choose() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Cluster:
    """The shared broker, for tests that need it to be Apache Kafka."""
    if reason := why_not_apache_kafka():
        _skip("Apache Kafka", reason)
    cluster: Cluster = request.getfixturevalue("broker")
    return cluster


@pytest.fixture
def private_kafka() -> Iterator[ApacheKafka]:
    """Apache Kafka for one test, which may stop and kill it."""
    with _running("Apache Kafka", ApacheKafka) as node:
        yield node


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[ApacheKafka]:
    """Apache Kafka with logins (users ``writer`` and ``pod``) and access rules."""
    users = {"writer": "writer-secret", "pod": "pod-secret"}
    with _running("Apache Kafka", lambda: ApacheKafka(users)) as node:
        yield node


@pytest.fixture
def private_secure_kafka() -> Iterator[ApacheKafka]:
    """Apache Kafka with a login (user ``writer``) for one test, which may change it."""
    with _running("Apache Kafka", lambda: ApacheKafka({"writer": "writer-secret"})) as node:
        yield node


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """The embedded broker, shared by the session's tests."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, shared by the session's tests: use your own databases."""
    with _running("PostgreSQL", PostgreSQL) as server:
        yield server


@pytest.fixture
def private_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for one test, which may stop and kill it; autovacuum is off."""
    with _running("PostgreSQL", lambda: PostgreSQL({"autovacuum": "off"})) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """URL of an empty database that is ready for a Butler repository."""
    name = f"butler{next(_numbers)}"
    yield postgresql.create_database(name)
    postgresql.drop_database(name)


@pytest.fixture(scope="session")
def prometheus_programs() -> Path:
    """The folder of ``prometheus`` and ``promtool``."""
    try:
        return find_prometheus()
    except ServerUnavailableError as reason:
        _skip("Prometheus", str(reason))


@pytest.fixture(scope="session")
def nginx_program() -> Path:
    """The program of nginx, so that a test can run it."""
    try:
        return find_nginx()
    except ServerUnavailableError as reason:
        _skip("nginx", str(reason))


@pytest.fixture(scope="session")
def helm() -> Path:
    """The program Helm, which renders the chart."""
    return _go_program("helm")


@pytest.fixture(scope="session")
def helm_docs() -> Path:
    """The program that writes the chart's README."""
    return _go_program("helm-docs")


def _go_program(name: str) -> Path:
    try:
        return find_go_program(name)
    except ServerUnavailableError as reason:
        _skip(name, str(reason))


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    """A browser."""
    try:
        return find_chromium()
    except ServerUnavailableError as reason:
        _skip("Chromium", str(reason))


@pytest.fixture(scope="session")
def actionlint() -> Path:
    """The linter of GitHub's workflows."""
    try:
        return find_go_program("actionlint")
    except ServerUnavailableError as reason:
        _skip("actionlint", str(reason))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 service, shared by the session's tests: use your own buckets."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3_door(s3_server: S3Server) -> Iterator[S3Door]:
    """Another address of the S3 service, for one test, which may close it."""
    with S3Door() as door:
        yield door


@pytest.fixture
def bucket(s3_server: S3Server, topic_name: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket; this process's environment is set so that it finds the service."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_server.create_bucket(topic_name)
    return Bucket(s3_server, topic_name)


@pytest.fixture
def topic_name() -> str:
    """A topic name that no other test uses."""
    return f"prompt-output-{os.getpid()}-{next(_numbers)}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a skipped test into a failed run in CI."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if _CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and what was skipped, with the reason."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == FIGURE:
                terminalreporter.write_line(f"measured: {value}")
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped}
    for reason in sorted(reasons):
        if reason.startswith(_NEEDS):
            terminalreporter.write_line(f"SKIPPED: {reason}")
    if _CI and skipped:
        terminalreporter.write_line("FAILED: in CI no test may be skipped")
