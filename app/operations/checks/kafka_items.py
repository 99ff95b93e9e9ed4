"""Checks of the brokers: the login, the access rules, the topics, and who is in the group."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import LoginRefusedError, OperatorError, UnavailableError
from app.kafka.checks.access import find_rights, kafka_error
from app.kafka.checks.access_rights import Operation, Permissions, Right
from app.kafka.checks.required import all_rights, all_topics, product_topic
from app.kafka.checks.sessions import session_mismatch
from app.kafka.connection import KafkaConnection
from app.kafka.errors import KafkaError
from app.kafka.group.members import describe_group
from app.operations.checks.items import Item, Verdict
from app.operations.checks.topic_items import topic_items
from app.settings import KafkaSettings

__all__ = ["kafka_items"]

_BROKERS, _LOGIN, _SESSION, _GROUP = "brokers", "login", "session timeout", "members of the group"
_LATER = ("access rules", _SESSION, "topics", _GROUP)


async def kafka_items(connection: KafkaConnection, settings: KafkaSettings) -> list[Item]:
    """Check all that concerns the brokers."""
    try:
        rights = await find_rights(connection, settings)
    except OperatorError as exc:
        return [*_not_connected(exc), *(_skipped(name) for name in _LATER)]
    user = connection.username or "ANONYMOUS"
    return [
        Item(_BROKERS, Verdict.OK, connection.cluster),
        Item(_LOGIN, Verdict.OK, f"as {user}"),
        *_right_items(user, rights, settings),
        await _session_item(connection, settings),
        *await _topics(connection, settings, rights),
        await _group_item(connection),
    ]


def _not_connected(error: OperatorError) -> list[Item]:
    if isinstance(error, LoginRefusedError):
        return [Item(_BROKERS, Verdict.OK, "they answer"), Item(_LOGIN, Verdict.WRONG, str(error))]
    verdict = Verdict.NOT_CHECKED if isinstance(error, UnavailableError) else Verdict.WRONG
    return [Item(_BROKERS, verdict, str(error)), _skipped(_LOGIN)]


def _skipped(name: str) -> Item:
    return Item(name, Verdict.NOT_CHECKED, "it needs the brokers", counts=False)


def _right_items(user: str, found: Permissions, settings: KafkaSettings) -> list[Item]:
    items = []
    optional = product_topic(settings)
    for right, needed_by in all_rights(settings).items():
        verdict, detail = Verdict.OK, f"for {needed_by}"
        if right in found.lacking and optional is not None and right.name == optional.name:
            detail = (
                f"note: Kafka user {user} lacks {right}; if {needed_by} is to work, grant the "
                "access rules listed in README.md"
            )
        elif right in found.lacking:
            verdict = Verdict.WRONG
            detail = (
                f"Kafka user {user} lacks {right}, which {needed_by} need; grant the access rules "
                "listed in README.md"
            )
        elif right in found.not_listed:
            verdict = Verdict.NOT_CHECKED
            detail = f"these brokers do not say what a user may do; {needed_by} need it"
        items.append(Item(str(right), verdict, detail, counts=verdict is not Verdict.NOT_CHECKED))
    return items


async def _session_item(connection: KafkaConnection, settings: KafkaSettings) -> Item:
    try:
        mismatch = await session_mismatch(connection, settings)
    except (KafkaError, OSError) as exc:
        return Item(_SESSION, Verdict.NOT_CHECKED, str(kafka_error(connection, exc)))
    if mismatch is not None:
        return Item(_SESSION, Verdict.WRONG, mismatch)
    return Item(_SESSION, Verdict.OK, f"{settings.session_timeout:g} s")


async def _topics(
    connection: KafkaConnection, settings: KafkaSettings, rights: Permissions
) -> list[Item]:
    may_create: Mapping[str, bool] = {
        topic.name: Right(Operation.CREATE, "topic", topic.name) not in rights.lacking
        for topic in all_topics(settings)
    }
    try:
        return await topic_items(connection, settings, may_create)
    except (KafkaError, OSError) as exc:
        return [Item("topics", Verdict.NOT_CHECKED, str(kafka_error(connection, exc)))]


async def _group_item(connection: KafkaConnection) -> Item:
    try:
        group = await describe_group(connection)
    except (KafkaError, OSError) as exc:
        return Item(_GROUP, Verdict.NOT_CHECKED, str(kafka_error(connection, exc)))
    if group.is_foreign:
        return Item(_GROUP, Verdict.WRONG, group.foreign_members)
    names = ", ".join(sorted(each.pages or each.host for each in group.members))
    return Item(_GROUP, Verdict.OK, f"{group.state}, workers: {names or 'none'}")
