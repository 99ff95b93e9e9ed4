"""A certificate that is refused: whether to wait, or to end and read another authority's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from app.errors import LoginRefusedError, OperatorError, UnavailableError
from app.kafka.availability import BrokerProbe
from app.kafka.checks.access import check_access
from app.kafka.connection import KafkaConnection
from app.settings import KafkaSettings, load_settings
from testbed.certificates import Authority

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@contextmanager
def server(identity: Path | None) -> Iterator[str]:
    """Run a server that does a handshake with every client; without a certificate, it ends it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if identity is not None:
        context.load_cert_chain(identity)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), client:
                client.recv(1, socket.MSG_PEEK)
                if identity is not None:
                    context.wrap_socket(client, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


async def refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bytes, identity: bytes | None
) -> list[Exception]:
    """Return the errors of a worker that starts, and of one that runs."""
    (tmp_path / "authority.pem").write_bytes(trusted)
    file = None
    if identity is not None:
        file = tmp_path / "identity.pem"
        file.write_bytes(identity)
    found: list[Exception] = []
    with server(file) as address:
        monkeypatch.setenv("KAFKA_CLUSTER", address)
        monkeypatch.setenv("BUTLER_WRITER_KAFKA_TLS", "true")
        monkeypatch.setenv("BUTLER_WRITER_KAFKA_CA_FILE", str(tmp_path / "authority.pem"))
        settings = load_settings().kafka
        connection = KafkaConnection.of(settings)
        for look in (
            check_access(connection, settings),
            BrokerProbe(connection, KafkaSettings()).ask(),
        ):
            with pytest.raises((OperatorError, OSError)) as raised:
                await look
            found.append(raised.value)
    return found


@pytest.mark.parametrize(
    ("since", "until", "reason"),
    [(-DAY, -HOUR, "certificate has expired"), (HOUR, DAY, "certificate is not yet valid")],
)
async def test_a_certificate_that_only_the_brokers_can_renew_is_waited_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    since: timedelta,
    until: timedelta,
    reason: str,
) -> None:
    authority = Authority()
    identity = authority.issue(since=since, until=until)
    found = await refusals(tmp_path, monkeypatch, authority.certificate, identity)
    for error in found:
        assert isinstance(error, UnavailableError)
        assert reason in str(error)
        assert str(error).endswith("; renew the brokers' certificate, or set the clocks right")


async def test_a_certificate_for_another_host_is_a_wrong_setting_only_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    identity = authority.issue("10.1.2.3")
    start, running = await refusals(tmp_path, monkeypatch, authority.certificate, identity)
    assert isinstance(start, LoginRefusedError)
    assert isinstance(running, UnavailableError)
    assert "the host names in KAFKA_CLUSTER" in str(start)
    assert "the host names in KAFKA_CLUSTER" in str(running)


@pytest.mark.parametrize("is_expired", [False, True])
async def test_an_authority_that_does_not_fit_is_read_again_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_expired: bool
) -> None:
    """The authority is another one, or its own certificate has expired."""
    authority = Authority(until=-HOUR) if is_expired else Authority()
    trusted = authority if is_expired else Authority()
    found = await refusals(tmp_path, monkeypatch, trusted.certificate, authority.issue())
    for error in found:
        assert isinstance(error, LoginRefusedError)
        assert "; check BUTLER_WRITER_KAFKA_CA_FILE, " in str(error)


async def test_a_load_balancer_without_brokers_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts connections, and ends them."""
    start, running = await refusals(tmp_path, monkeypatch, Authority().certificate, None)
    assert isinstance(start, UnavailableError)
    assert not isinstance(running, LoginRefusedError)
