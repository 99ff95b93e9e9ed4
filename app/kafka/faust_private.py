"""All uses of private names of Faust and aiokafka.

A test reports which private name, or overridden hook, a new release has changed.  Their behaviour
was measured with faust-streaming 0.15.3 or read in its source.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, cast

import faust
import structlog
from faust.cli.worker import worker as worker_command
from faust.types import TP, AgentT

from app.kafka.errors import KafkaError

if TYPE_CHECKING:
    from faust.tables.manager import TableManager
    from faust.tables.recovery import Recovery
    from faust.transport.consumer import Consumer, ThreadDelegateConsumer
    from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

__all__ = [
    "StrictApp",
    "forget_gap",
    "has_consumer",
    "membership_error",
    "recover_again",
    "recovery_progress",
    "silence_banner",
]

logger = structlog.get_logger("butler_writer")


class StrictApp(faust.App):
    """A Faust application that ends if an agent cannot be imported or raises an exception."""

    def _on_autodiscovery_error(self, name: str) -> None:
        """Refuse to start without an agent; Faust would only warn and run the others."""
        raise ImportError(f"{name} cannot be imported") from sys.exception()

    async def _on_agent_error(self, agent: AgentT[Any], exc: BaseException) -> None:
        """End the process, because the events that the agent held would never be acked.

        Faust would only restart the agent (rule no-exception-leaves-an-agent).
        """
        logger.critical(
            "an exception left an agent, ending the worker", agent=agent.name, exc_info=exc
        )
        os._exit(1)


def silence_banner() -> None:
    """Keep ``faust worker`` from printing its banner, which is no JSON line, on standard output."""
    worker_command.on_worker_created = lambda *_: None  # type: ignore[method-assign]


def has_consumer(app: faust.App) -> bool:
    """Return whether the application has a consumer; accessing it would create one."""
    return app._consumer is not None


def forget_gap(consumer: Consumer, partition: TP) -> None:
    """Discard the gap that Faust has noted in a partition; Faust would commit it unread."""
    consumer._gap.pop(partition, None)


def recovery_progress(app: faust.App) -> dict[TP, int] | None:
    """Return the offset that the recovery of the tables has reached in each changelog.

    Returns
    -------
    offsets : `dict` [`faust.types.TP`, `int`] or `None`
        `None` if no recovery is running.
    """
    recovery = _recovery(app)
    is_running = recovery.in_recovery and recovery.need_recovery()
    return dict(recovery.active_offsets) if is_running else None


async def recover_again(app: faust.App) -> None:
    """Make table recovery read again from the offsets that it has reached.

    Faust drops messages that are fetched while partitions are revoked.  Its recovery then waits for
    these messages for ever (rule no-gaps-in-offsets).

    Raises
    ------
    IllegalStateError
        If the partitions have been revoked.
    """
    recovery = _recovery(app)
    await recovery._seek_offsets(
        app.consumer, recovery.active_tps, recovery.active_offsets, "active"
    )


async def membership_error(app: faust.App) -> str | None:
    """Return the error that has ended the membership in the consumer group, and clear it.

    aiokafka keeps such an error until its user checks for errors, which Faust never does.  After
    the check it tries to join again.
    """
    thread = cast("AIOKafkaConsumerThread", cast("ThreadDelegateConsumer", app.consumer)._thread)
    if thread._consumer is None:
        return None
    try:
        await thread.call_thread(thread._consumer._coordinator.check_errors)
    except KafkaError as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


def _recovery(app: faust.App) -> Recovery:
    return cast("TableManager", app.tables).recovery
