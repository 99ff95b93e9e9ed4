"""Reads the table ``waiting`` of a downstream repository without a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from app.downstream.kept_state import (
    Key,
    Unruled,
    WithdrawnDataset,
    WithdrawnRun,
    key_of,
    state_of,
)
from app.downstream.waiting import Due, Numbers, Waiting
from app.downstream.withdrawn import Withdrawn
from app.kafka.changelog import Changelog
from app.kafka.connection import KafkaConnection
from app.settings import ReplicaKafkaSettings

__all__ = ["Kept", "read_kept"]


@dataclass
class Kept:
    """What the table has.

    Attributes
    ----------
    index : `Waiting`
        What waits, and what is held.
    unruled : `list` [`str`]
        Dataset types for which today's rules have no rule, as far as some came.
    by_other_rules : `int`
        How many entries were made by other rules; the next worker that starts looks at their
        messages again.
    withdrawn : `Withdrawn`
        What was withdrawn.
    """

    index: Waiting = field(default_factory=Waiting)
    unruled: list[str] = field(default_factory=list)
    by_other_rules: int = 0
    withdrawn: Withdrawn = field(default_factory=Withdrawn)


async def read_kept(
    connection: KafkaConnection, settings: ReplicaKafkaSettings, rules: str
) -> Kept:
    """Return what the table has; its memory grows with the messages that wait.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `ReplicaKafkaSettings`
        Names of the topics.
    rules : `str`
        Identifies today's release rules.

    Raises
    ------
    app.kafka.errors.TopicError
        If there is no changelog yet.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    kept = Kept()
    latest = await Changelog(connection, settings.waiting_topic).read_all()

    def waiting() -> Iterator[tuple[Due, Numbers]]:
        while latest:
            key, value = latest.popitem()
            found, (made_by, numbers) = _key(key), state_of(value)
            match found:
                case Due():
                    kept.by_other_rules += made_by != rules
                    yield found, numbers
                case Unruled(name) if made_by == rules:
                    kept.unruled.append(name)
                case WithdrawnDataset(dataset_id):
                    kept.withdrawn.ids.add(dataset_id)
                case WithdrawnRun(name):
                    kept.withdrawn.runs.add(name)

    kept.index = Waiting(waiting())
    kept.unruled.sort()
    return kept


def _key(key: bytes) -> Key | None:
    try:
        return key_of(key)
    except Exception:  # noqa: BLE001 - a worker says so when it starts
        return None
