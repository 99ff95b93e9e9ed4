"""Creates the parts of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import topics
from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import open_butler
from app.butler.writer import ButlerWriter
from app.kafka.sending import TopicSender
from app.parts import Parts
from app.telemetry.flush_reports import FlushReports

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["open_parts"]


def open_parts(app: ButlerWriterApp) -> Parts:
    """Open the repository, and create the parts that write to it.

    Parameters
    ----------
    app : `ButlerWriterApp`
        Has the settings, the intake and the status; all required settings must be set.

    Raises
    ------
    RepositoryError
        If the repository cannot be opened.
    """
    write = app.settings.write
    butler = open_butler(write.repository or "", write)
    return Parts(
        intake=app.intake,
        writer=ButlerWriter(butler, write),
        chain_keeper=ChainKeeper(butler.clone()),
        sender=TopicSender(topics.outputs),
        reports=FlushReports(app.status),
        list_directory=write.dataset_list_directory or "",
        max_event_bytes=app.settings.kafka.max_message_bytes,
        retry_wait_max=write.retry_wait_max,
    )
