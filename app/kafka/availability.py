"""Asks the brokers for an answer, and what the user may do, on a connection of its own.

The consumer's connections cannot be asked: while the brokers are away, aiokafka only tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import HeartbeatRequest

from app.kafka.checks.access_rights import check_permissions
from app.kafka.checks.refusals import refusal
from app.kafka.checks.required import required_operations
from app.kafka.connection import KafkaConnection
from app.settings.kafka import KafkaSettings

__all__ = ["BrokerProbe"]

#: Seconds to wait for one answer of one broker.
_TIMEOUT = 3.0


class BrokerProbe:
    """A connection to any broker, which is opened again when it is lost.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to try, and the login.
    settings : `KafkaSettings`
        Has the names of the topics.
    is_suspect : `~collections.abc.Callable`
        Whether something does not work.  The probe then logs in again: a broker does not close a
        connection when its user's password is changed.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        settings: KafkaSettings,
        is_suspect: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection = connection
        self._operations = required_operations(settings)
        self._input_topic = settings.topic
        self._is_suspect = is_suspect
        self._broker: AIOKafkaConnection | None = None

    async def ask(self) -> None:
        """Wait for an answer of any broker; check the input topic and the user's access rights.

        Raises
        ------
        LoginRefusedError
            If a broker refuses the login, or its certificate is of an unknown authority.
        UnavailableError
            If its certificate has expired, or is for another host.
        TopicError
            If the user lacks access rights, or if there is no input topic.
        aiokafka.errors.KafkaError
            If a broker closes the connection.
        OSError
            If no broker answers.
        """
        try:
            await self._ask_any()
        except TimeoutError as exc:  # asyncio's has no text
            cluster = self._connection.cluster
            raise TimeoutError(f"no answer of {cluster} within {_TIMEOUT:g} s") from exc

    async def _ask_any(self) -> None:
        if self._is_suspect():
            self.close()
        if self._broker is not None:
            try:
                await self._ask(self._broker)
            except (KafkaError, OSError):
                self.close()
            else:
                return
        self._broker = await self._connect()
        await self._ask(self._broker)

    def close(self) -> None:
        """Close the connection."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None

    async def _ask(self, broker: AIOKafkaConnection) -> None:
        # Every broker answers it, at least with an error, which changes nothing.
        beat = HeartbeatRequest(self._connection.group, -1, "")
        await asyncio.wait_for(broker.send(beat), _TIMEOUT)
        check = check_permissions(
            broker, self._connection, self._operations, must_exist=[self._input_topic]
        )
        await asyncio.wait_for(check, _TIMEOUT)

    async def _connect(self) -> AIOKafkaConnection:
        """Connect to all brokers at once, and keep the first connection."""
        attempts = [
            asyncio.ensure_future(
                create_conn(
                    host,
                    port,
                    request_timeout_ms=int(_TIMEOUT * 1000),
                    **self._connection.security_options,
                )
            )
            for host, port, _ in collect_hosts(list(self._connection.brokers))
        ]
        errors: list[Exception] = []
        try:
            for attempt in asyncio.as_completed(attempts):
                try:
                    return await attempt
                except (KafkaError, OSError) as exc:
                    errors.append(exc)
        finally:
            for other in attempts:
                other.add_done_callback(self._close_unused)
                other.cancel()
        for error in errors:
            if (refused := refusal(self._connection, error, is_starting=False)) is not None:
                raise refused from error
        raise errors[-1] if errors else OSError("no broker is configured")

    def _close_unused(self, attempt: asyncio.Future[AIOKafkaConnection]) -> None:
        if attempt.cancelled() or attempt.exception() is not None:
            return
        if attempt.result() is not self._broker:
            attempt.result().close()
