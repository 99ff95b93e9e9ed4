"""Who is in the consumer group, and what each member reads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from app.kafka.connection import KafkaConnection, admin_client

__all__ = ["WORKER_PROTOCOL", "Group", "Member", "ask_group", "describe_group"]

#: What brokers answer that have just started, or have never had a group, and for how many seconds
#: the question is repeated.
_NO_COORDINATOR = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
_COORDINATOR_SECONDS = 10.0

#: How workers share partitions: the name of Faust's assignor.
WORKER_PROTOCOL = "faust"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the group.

    Attributes
    ----------
    client, host : `str`
        What it calls itself, and its address as the brokers see it.
    pages : `str` or `None`
        The address of its pages, if it is a worker.
    partitions : `dict` [`str`, `list` [`int`]]
        The partitions of each topic that are assigned to it.
    """

    client: str
    host: str
    pages: str | None
    partitions: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group.

    Attributes
    ----------
    name : `str`
        Its name.
    state : `str`
        Kafka's word: ``Stable``, ``Empty``, ``Dead`` (never used), a rebalance, ...
    protocol : `str`
        How its members share the partitions.
    members : `list` [`Member`]
        Who is in it.
    """

    name: str
    state: str
    protocol: str
    members: list[Member] = field(default_factory=list)

    @property
    def is_foreign(self) -> bool:
        """Whether its members are no workers of this service; no worker can join them."""
        return bool(self.members) and self.protocol not in ("", WORKER_PROTOCOL)

    @property
    def foreign_members(self) -> str:
        """What is wrong if its members are no workers of this service, and what to do."""
        return (
            f"the members of the group {self.name} ({len(self.members)}) share its partitions by "
            f"{self.protocol!r}, so they are no workers of this service, and no worker can join "
            "them; stop them (one that was killed leaves after its session timeout), or set "
            "BUTLER_WRITER_KAFKA_GROUP"
        )

    @property
    def names_workers(self) -> bool:
        """Whether Kafka says who its members are and what they read."""
        return any(each.pages is not None or each.partitions for each in self.members)

    def owner(self, topic: str, partition: int) -> Member | None:
        """Return the member that reads a partition."""
        for member in self.members:
            if partition in member.partitions.get(topic, ()):
                return member
        return None


async def describe_group(connection: KafkaConnection, request_timeout: float = 10.0) -> Group:
    """Ask who is in the group.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers, and the name of the group.
    request_timeout : `float`, optional
        Seconds to wait for a broker's answer.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the request.
    """
    async with admin_client(connection, request_timeout) as admin:
        return await ask_group(admin, connection.group)


async def ask_group(admin: AIOKafkaAdminClient, group: str) -> Group:
    """Ask who is in a group, through a client that is open already.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the request.
    """
    _code, name, state, _type, protocol, members, *_ = await _described(admin, group)
    return Group(name, state, protocol, [_member(*each) for each in members])


@retry(
    retry=retry_if_exception_type(_NO_COORDINATOR),
    stop=stop_after_delay(_COORDINATOR_SECONDS),
    wait=wait_fixed(0.5),
    reraise=True,
)
async def _described(admin: AIOKafkaAdminClient, group: str) -> tuple[Any, ...]:
    (answer,) = await admin.describe_consumer_groups([group])
    found: tuple[Any, ...] = answer.groups[0]
    if found[0]:
        raise for_code(found[0])(f"the group {group} cannot be described")
    return found


def _member(_id: str, client: str, host: str, metadata: bytes, assignment: bytes) -> Member:
    partitions: dict[str, list[int]] = {}
    # It is empty during a rebalance, and members that are no consumers have formats of their own.
    with suppress(ValueError, TypeError):
        given = ConsumerProtocolMemberAssignment.decode(assignment)
        partitions = {topic: sorted(numbers) for topic, numbers in given.assignment}
    return Member(client, host.lstrip("/"), _pages(metadata), partitions)


def _pages(metadata: bytes) -> str | None:
    """Return the address of a worker's pages, which Faust tells the other members."""
    try:
        user_data: Any = orjson.loads(ConsumerProtocolMemberMetadata.decode(metadata).user_data)
        return str(user_data["url"]).rstrip("/")
    except Exception:  # noqa: BLE001 - whatever another service puts there
        return None
