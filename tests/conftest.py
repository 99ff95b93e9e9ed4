"""Fixtures for the real parts, and the rule for parts that this machine cannot run.

Where a part is missing, the tests that need it are skipped and the closing lines say what was
left out and why. With ``CI=true`` nothing may be left out: a missing part, and any other
skipped test, is a failure.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import NoReturn, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from testbed.availability import PartUnavailableError
from testbed.brokers import choose, why_not_apache_kafka
from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.s3 import S3Door, S3Server
from tests.support.buckets import Bucket

# Timings never decide a test: a machine that is busy is no defect.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

#: A test's property that is printed at the end; it decides nothing.
FIGURE = "figure"

_CI = os.environ.get("CI") == "true"
_NEEDS = "every test that needs "
_numbers = count(1)

Part = TypeVar("Part")


def _leave_out(name: str, reason: str) -> NoReturn:
    """Skip what asked for a part that cannot run here; in CI, fail it."""
    if _CI:
        pytest.fail(f"{name} is required in CI: {reason}")
    pytest.skip(f"{_NEEDS}{name} ({reason})")


@contextmanager
def _part(name: str, make: Callable[[], AbstractContextManager[Part]]) -> Iterator[Part]:
    """Run a part, or leave it out."""
    try:
        part = make()
    except PartUnavailableError as reason:
        _leave_out(name, str(reason))
    with part as running:
        yield running


@pytest.fixture(scope="session")
def broker() -> Iterator[Cluster]:
    """Whichever broker this machine can run, shared: use topics and groups of your own."""
    with choose() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Cluster:
    """The shared broker, for tests that need it to be Apache Kafka."""
    if reason := why_not_apache_kafka():
        _leave_out("Apache Kafka", reason)
    cluster: Cluster = request.getfixturevalue("broker")
    return cluster


@pytest.fixture
def private_kafka() -> Iterator[ApacheKafka]:
    """Apache Kafka for one test, which may stop and kill it."""
    with _part("Apache Kafka", ApacheKafka) as node:
        yield node


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[ApacheKafka]:
    """Apache Kafka with logins (users ``writer`` and ``pod``) and access rules."""
    users = {"writer": "writer-secret", "pod": "pod-secret"}
    with _part("Apache Kafka", lambda: ApacheKafka(users)) as node:
        yield node


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """The embedded broker, shared by the session's tests."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, shared by the session's tests: use databases of your own."""
    with _part("PostgreSQL", PostgreSQL) as server:
        yield server


@pytest.fixture
def private_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for one test, which may stop and kill it; autovacuum is off."""
    with _part("PostgreSQL", lambda: PostgreSQL({"autovacuum": "off"})) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """Address of a fresh database that is ready for a Butler repository."""
    name = f"butler{next(_numbers)}"
    yield postgresql.create_database(name)
    postgresql.drop_database(name)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 service, shared by the session's tests: use buckets of your own."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3_door(s3_server: S3Server) -> Iterator[S3Door]:
    """Another address of the S3 service, for one test, which may shut it."""
    with S3Door() as door:
        yield door


@pytest.fixture
def bucket(s3_server: S3Server, topic_name: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket; this process finds it too."""
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
    """Say what was measured; and plainly what was left out, and why."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == FIGURE:
                terminalreporter.write_line(f"measured: {value}")
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped}
    for reason in sorted(reasons):
        if reason.startswith(_NEEDS):
            terminalreporter.write_line(f"LEFT OUT: {reason}")
    if _CI and skipped:
        terminalreporter.write_line("FAILED: in CI no test may be skipped")
