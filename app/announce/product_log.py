"""Sends the product log: what each window has written, for other repositories.

As for announcements, every dataset of the window is in it on every delivery (rule
announced-on-every-delivery).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from app.butler.products.contents import WrittenProducts
from app.butler.products.messages import product_messages
from app.kafka.errors import MessageSizeTooLargeError
from app.kafka.sending import OutputTopic, Sender
from app.telemetry import metrics

__all__ = ["ProductLog"]

logger = structlog.get_logger("butler_writer")

#: Smallest size limit of a topic with which the log can work: some artifacts with their records.
_SMALLEST_LIMIT = 256 * 1024


@dataclass
class ProductLog:
    """The product log of a worker.

    Attributes
    ----------
    limit : `int`
        Largest size of a message, in bytes; it falls if the topic does not accept that.
    is_on : `bool`
        Whether the log is written.
    """

    limit: int
    is_on: bool = False

    def start(self, problem: str | None) -> None:
        """Switch the log on, unless it cannot be written.

        Parameters
        ----------
        problem : `str` or `None`
            Why it cannot be written, with the remedy.
        """
        self.is_on = problem is None
        metrics.PRODUCT_LOG_ENABLED.set(self.is_on)
        if problem is not None:
            logger.warning("the product log is off", reason=problem)

    def messages(
        self, products: WrittenProducts, batch_id: UUID, committed_at: datetime
    ) -> list[tuple[str, bytes]]:
        """Return the messages of a window, each with its run."""
        return product_messages(products, batch_id, committed_at, self.limit)

    async def send(self, sender: Sender, messages: list[tuple[str, bytes]]) -> bool:
        """Send the messages of a window.

        Parameters
        ----------
        sender : `Sender`
            Sends the messages, and waits until each has arrived.
        messages : `list` [`tuple` [`str`, `bytes`]]
            The messages, each with its run.

        Returns
        -------
        are_sent : `bool`
            `False` if the topic accepts only smaller messages: make them anew.

        Raises
        ------
        KafkaError
            If one was not delivered; all may be sent again.
        """
        for run, value in messages:
            try:
                await sender.send(OutputTopic.PRODUCTS, key=run.encode(), value=value)
            except MessageSizeTooLargeError:
                if self.limit <= _SMALLEST_LIMIT:
                    raise
                self.limit = max(_SMALLEST_LIMIT, min(self.limit, len(value)) // 2)
                return False
            metrics.PRODUCT_MESSAGES.inc()
            metrics.PRODUCT_BYTES.inc(len(value))
        return True
