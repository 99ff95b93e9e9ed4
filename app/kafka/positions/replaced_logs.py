"""Notices a log that was replaced and has grown beyond the offset that is read next.

The brokers refuse a position that their log does not hold.  They do not refuse one in another log
that has the same name: one that was cut back, restored or made again, and has grown since.  So the
topic's id, which is a new one if it was made again, is asked for at every look.  And when the
connection to a partition's leader changes, the last message that was read is looked up again (rule
no-gaps-in-offsets).
"""

from __future__ import annotations

from typing import Any

import structlog

from app.butler.descriptions import describe_with_type
from app.intake.evidence import ReadEvidence
from app.intake.intake import Intake
from app.intake.suspects import ReadMessage, Suspects
from app.kafka.connection import KafkaConnection
from app.kafka.errors import KafkaError, TopicError
from app.kafka.positions.topic_id import TopicId
from app.kafka.readers import TopicReader, open_reader

__all__ = ["ReplacedLogs"]

logger = structlog.get_logger("butler_writer")


class ReplacedLogs:
    """Looks up messages that were read before, and notes a reset if they are others.

    Parameters
    ----------
    suspects : `Suspects`
        The partitions to look at.
    intake : `Intake`
        Has the assigned partitions; gets the resets.
    evidence : `ReadEvidence`
        Has the id of the topic that is read.
    topic_id : `TopicId`
        Asks for the input topic's id.
    connection : `KafkaConnection`
        How to reach the brokers.
    topic : `str`
        The input topic.
    largest_event : `int`
        Size in bytes of the largest event that the service accepts.
    """

    def __init__(
        self,
        suspects: Suspects,
        intake: Intake[Any],
        evidence: ReadEvidence,
        topic_id: TopicId,
        *,
        connection: KafkaConnection,
        topic: str,
        largest_event: int,
    ) -> None:
        self._suspects = suspects
        self._intake = intake
        self._evidence = evidence
        self._topic_id = topic_id
        self._connection = connection
        self._topic = topic
        self._largest_event = largest_event

    async def look(self) -> None:
        """Check the suspect partitions; what cannot be checked now is checked again later."""
        assigned = self._intake.ledger.state().keys()
        if await self._topic_was_made_again():
            for partition in assigned:
                self._intake.ledger.fetches.note_reset(partition)
            return
        found = {p: last for p, last in self._suspects.found().items() if p in assigned}
        if not found:
            return
        try:
            async with open_reader(self._connection, self._topic, self._largest_event) as reader:
                for partition, last in found.items():
                    is_there = await _is_there(reader, partition[1], last)
                    if is_there is False:
                        self._intake.ledger.fetches.note_reset(partition)
                    if is_there is not None:
                        self._suspects.clear(partition)
        except (KafkaError, OSError, TopicError) as exc:
            logger.warning("cannot look up what was read before", error=describe_with_type(exc))

    async def _topic_was_made_again(self) -> bool:
        read = self._evidence.topic_id
        if read is None:
            return False
        try:
            found = await self._topic_id.ask()
        except (KafkaError, OSError):
            return False  # the brokers are away, which others report
        # Reading may have started again meanwhile.
        return found is not None and found != read == self._evidence.topic_id


async def _is_there(reader: TopicReader, partition: int, last: ReadMessage) -> bool | None:
    """Return whether the log still has a message; `None` if that cannot be told yet."""
    if last.offset < (await reader.first_offsets())[partition]:
        return True  # retention has dropped it
    if last.offset >= (await reader.end_offsets())[partition]:
        return None  # the brokers refuse the position, unless the log grows first
    message = await reader.message(partition, last.offset)
    return message is not None and ReadMessage.of(message) == last
