"""The reader of the dead-letter topic that the pages share; its connections stay open a while."""

from __future__ import annotations

from contextlib import AsyncExitStack

from app.kafka.connection import KafkaConnection
from app.kafka.kept_open import KeptOpen
from app.kafka.readers import TopicReader, open_reader
from app.settings import KafkaSettings

__all__ = ["READ_SECONDS", "LetterReader"]

#: Seconds that a look may take.
READ_SECONDS = 3.0


class LetterReader(KeptOpen[TopicReader]):
    """Reads the dead-letter topic, for one page at a time.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to read from.
    settings : `KafkaSettings`
        Has the names of the topics.

    Attributes
    ----------
    topic : `str`
        The dead-letter topic.
    """

    def __init__(self, connection: KafkaConnection, settings: KafkaSettings) -> None:
        self.topic = settings.dead_letter_topic

        async def open_topic(stack: AsyncExitStack) -> TopicReader:
            reader = open_reader(connection, self.topic, settings.max_message_bytes)
            return await stack.enter_async_context(reader)

        super().__init__(open_topic, READ_SECONDS)
