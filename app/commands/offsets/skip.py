"""``faust -A app skip``: sets one event aside by hand."""

from __future__ import annotations

from typing import Any

from faust.cli import argument

from app import app
from app.commands.operator_command import CommandError, operator_command
from app.kafka.readers import MessageId
from app.operations.offsets.rewinding import check_stopped
from app.operations.offsets.skipping import skip_event

__all__ = ["skip"]


@app.command(argument("event", metavar="PARTITION-OFFSET"))
async def skip(command: Any, event: str) -> None:
    """Send one event to the dead letters, and let the group continue behind it.

    For an event that holds up its partition.  It must be the first one there that is not finished.
    All workers must be stopped.  The event can be replayed later.
    """
    with operator_command(command) as output:
        if (event_id := MessageId.named(event)) is None:
            raise CommandError(f"not PARTITION-OFFSET of an event: {event}")
        await check_stopped(app.connection)
        offset = await skip_event(app.connection, app.settings.kafka, event_id)
        output.line(
            f"{app.settings.kafka.topic}-{event_id.partition}@{event_id.offset} is a dead letter; "
            f"the group {app.connection.group} continues at offset {offset}; start the workers"
        )
        output.document({"skipped": str(event_id), "offset": offset})
