"""Finds out why brokers that can be reached do not answer: encryption or login do not match.

A broker closes a connection of the wrong kind without a reason, or does not answer at all.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import closing

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import SaslHandShakeRequest

from app.kafka.connection import SASL_MECHANISM, KafkaConnection

__all__ = ["diagnose"]

#: Seconds to wait for an answer of a broker.
_TIMEOUT_SECONDS = 3.0

#: Seconds to wait for an alert, which a broker sends at once.
_ALERT_SECONDS = 1.0

#: The code of the error that answers a login on a connection that needs none.
_NO_LOGIN_NEEDED = 34

_LOGIN_VARIABLES = "KAFKA_USERNAME and KAFKA_PASSWORD"


async def diagnose(connection: KafkaConnection, host: str, port: int) -> str | None:
    """Return what does not match between a broker and the settings.

    Parameters
    ----------
    connection : `KafkaConnection`
        The login and the encryption that the settings ask for.
    host, port : `str`, `int`
        The broker.

    Returns
    -------
    reason : `str` or `None`
        One line with the variable and the remedy; `None` if everything matches, or the broker does
        not answer at all.
    """
    uses_tls = connection.tls_context is not None
    try:
        with closing(await _connect(host, port, tls=uses_tls)) as broker:
            return await _login_mismatch(connection, broker)
    except (KafkaError, OSError):
        pass
    if connection.tls_context and (alert := await _alert(connection.tls_context, host, port)):
        return (
            f"the brokers require a client's certificate, or refuse it ({alert}); check "
            "BUTLER_WRITER_KAFKA_CERT_FILE and BUTLER_WRITER_KAFKA_KEY_FILE"
        )
    try:
        (await _connect(host, port, tls=not uses_tls)).close()
    except (KafkaError, OSError):
        # With an alert, the brokers use encryption, and require a certificate besides.
        if uses_tls or await _alert(_trusting_all(), host, port) is None:
            return None
    if uses_tls:
        return (
            "BUTLER_WRITER_KAFKA_TLS=true, but the brokers use no encryption on this port; set it "
            "to false, or give the encrypted port in KAFKA_CLUSTER"
        )
    return (
        "BUTLER_WRITER_KAFKA_TLS=false, but the brokers use encryption on this port; set it to "
        "true, or give the port without encryption in KAFKA_CLUSTER"
    )


async def _connect(host: str, port: int, *, tls: bool) -> AIOKafkaConnection:
    """Connect without a login; every broker answers which requests it knows."""
    return await create_conn(
        host,
        port,
        request_timeout_ms=int(_TIMEOUT_SECONDS * 1000),
        security_protocol="SSL" if tls else "PLAINTEXT",
        ssl_context=_trusting_all() if tls else None,
    )


def _trusting_all() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False  # nothing secret is sent
    context.verify_mode = ssl.CERT_NONE
    return context


async def _alert(context: ssl.SSLContext, host: str, port: int) -> str | None:
    """Return the alert with which a broker ends an encrypted connection, or `None` if it does not.

    It comes after the client's handshake, which is why aiokafka sees a closed connection only.
    """
    writer = None
    try:
        async with asyncio.timeout(_ALERT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            await reader.read(1)
    except ssl.SSLError as exc:
        return exc.reason if "ALERT" in (exc.reason or "") else None
    except OSError:  # a TimeoutError too: it waits for a request
        return None
    finally:
        if writer is not None:
            writer.transport.abort()
    return None


async def _login_mismatch(connection: KafkaConnection, broker: AIOKafkaConnection) -> str | None:
    answer = await broker.send(SaslHandShakeRequest(SASL_MECHANISM))
    needs_login = answer.error_code != _NO_LOGIN_NEEDED
    if not needs_login and connection.username is not None:
        return f"{_LOGIN_VARIABLES} are set, but the brokers take no login on this port; unset them"
    if needs_login and SASL_MECHANISM not in answer.enabled_mechanisms:
        return (
            f"the brokers take logins with {', '.join(answer.enabled_mechanisms)} only; enable "
            f"{SASL_MECHANISM} for the user, which is what {_LOGIN_VARIABLES} are for"
        )
    if needs_login and connection.username is None:
        return f"the brokers require a login; set {_LOGIN_VARIABLES}"
    return None
