"""Sets the committed offsets of a stopped group back, so that its workers read events again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.errors import OperatorError
from app.kafka.connection import KafkaConnection
from app.kafka.group.members import describe_group
from app.kafka.group.offsets import GroupInUseError, committed_offsets
from app.kafka.readers import open_reader
from app.settings import KafkaSettings

__all__ = ["Rewind", "RewindError", "check_stopped", "plan_rewind"]


class RewindError(OperatorError):
    """Nothing can be set back."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """What is set back.

    Attributes
    ----------
    ranges : `dict` [`int`, `tuple` [`int`, `int`]]
        The offset that each partition is set back to, and the one that is committed now.
        Partitions that stay where they are are absent.
    lost : `dict` [`int`, `int`]
        How many offsets before the first one that the log still has were asked for.
    """

    ranges: Mapping[int, tuple[int, int]]
    lost: Mapping[int, int]


async def check_stopped(connection: KafkaConnection) -> None:
    """Check that the group has no members.

    Raises
    ------
    GroupInUseError
        If it has any; the text names them.
    """
    group = await describe_group(connection)
    if group.members:
        names = ", ".join(sorted(each.pages or each.host for each in group.members))
        raise GroupInUseError(
            f"the group {group.name} has members ({names}); stop all workers "
            "first: they leave the group when they end, or after their session timeout"
        )


async def plan_rewind(
    connection: KafkaConnection,
    settings: KafkaSettings,
    *,
    to: datetime | None,
    offset: int | None,
) -> Rewind:
    """Find out which offsets to set back, and to where.  Nothing is changed.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.KafkaSettings`
        Has the input topic.
    to : `datetime.datetime` or `None`
        Each partition is set back to its first message that was sent at or after this time.
    offset : `int` or `None`
        Each partition is set back to this offset.

    Raises
    ------
    RewindError
        If no partition has a committed offset after that.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    committed = await committed_offsets(connection, settings.topic)
    async with open_reader(connection, settings.topic, settings.max_message_bytes) as reader:
        firsts = await reader.first_offsets()
        required = (
            await reader.offsets_at(to) if to is not None else dict.fromkeys(firsts, offset or 0)
        )
    ranges, lost = {}, {}
    for partition, now in sorted(committed.items()):
        target = required.get(partition, now)
        start = max(target, firsts[partition])
        if start < now:
            ranges[partition] = (start, now)
            if start > target and offset is not None:
                lost[partition] = start - target
    if not ranges:
        raise RewindError(
            "nothing to set back: no partition has a committed offset after that; see "
            "faust -A app status"
        )
    return Rewind(ranges, lost)
