"""What a test needs from any Kafka cluster: topics, messages, offsets."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as ConfluentMessage
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from .waiting import wait_until

__all__ = ["Cluster", "Message"]

T = TypeVar("T")

_REQUEST_TIMEOUT = 20.0
_MAX_MESSAGE_BYTES = 12 * 1024 * 1024

# The answers of a broker that has just started.
_COORDINATOR_STARTS = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}

# Those of one that has just started after it was killed: the client knows of another epoch.
_LEADER_STARTS = {KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH}


@dataclass(frozen=True)
class Message:
    """One message of a partition."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Cluster:
    """A Kafka cluster at an address; subclasses also start and stop it.

    Parameters
    ----------
    bootstrap
        ``host:port`` of a broker.
    security
        librdkafka's security properties, for the connections of these methods.
    """

    def __init__(self, bootstrap: str, security: Mapping[str, str] | None = None) -> None:
        self.bootstrap = bootstrap
        self.client_config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            # Tests stop brokers; a client should notice at once when they are back.
            "reconnect.backoff.max.ms": 500,
            # ... and should not log each attempt meanwhile: errors that matter are raised.
            "log_level": 2,
            **(security or {}),
        }
        self._consumers: dict[str, Consumer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    @cached_property
    def admin(self) -> AdminClient:
        """An administration client."""
        return AdminClient(self.client_config)

    @cached_property
    def _producer(self) -> Producer:
        return Producer(
            {
                **self.client_config,
                "message.max.bytes": _MAX_MESSAGE_BYTES,
                "linger.ms": 0,
                "delivery.timeout.ms": int(_REQUEST_TIMEOUT * 1000),
            }
        )

    def answers(self) -> bool:
        """Tell whether a broker answers and takes part in the cluster."""
        try:
            return bool(self.admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def create_topic(self, name: str, partitions: int = 1, **config: str | int) -> None:
        """Create a topic and wait until every partition has a leader.

        Keywords are topic settings with ``_`` for ``.``, as in ``cleanup_policy="compact"``.
        """
        settings = {key.replace("_", "."): str(value) for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        self.admin.create_topics([topic])[name].result(_REQUEST_TIMEOUT)

        def has_leaders() -> bool:
            found = self.admin.list_topics(name, timeout=_REQUEST_TIMEOUT).topics[name]
            return len(found.partitions) == partitions and all(
                partition.leader >= 0 for partition in found.partitions.values()
            )

        wait_until(has_leaders, _REQUEST_TIMEOUT, f"a leader for each partition of {name}")

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until the broker does not know it any more."""
        self.admin.delete_topics([name])[name].result(_REQUEST_TIMEOUT)
        wait_until(lambda: name not in self.topics(), _REQUEST_TIMEOUT, f"the end of {name}")

    def topics(self) -> dict[str, int]:
        """Return the topics' partition counts by name."""
        found = self.admin.list_topics(timeout=_REQUEST_TIMEOUT).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> tuple[int, int]:
        """Send one message, wait until the broker has it, and return its partition and offset.

        Raises
        ------
        KafkaException
            The broker refused it, or did not answer.
        """
        reports: list[tuple[KafkaError | None, ConfluentMessage]] = []
        self._producer.produce(
            topic,
            value=value,
            key=key,
            headers=list((headers or {}).items()),
            partition=-1 if partition is None else partition,
            on_delivery=lambda error, message: reports.append((error, message)),
        )
        self._producer.flush(_REQUEST_TIMEOUT + 5)
        if not reports:
            raise TimeoutError(f"no delivery report for a message to {topic}")
        error, message = reports[0]
        if error is not None:
            raise KafkaException(error)
        return _int(message.partition()), _int(message.offset())

    def produce_many(
        self, topic: str, messages: Iterable[tuple[bytes | None, Mapping[str, bytes]]]
    ) -> None:
        """Send messages, each a value and headers, to partition 0; wait until the broker has all.

        Raises
        ------
        KafkaException
            The broker refused one.
        TimeoutError
            It has not all of them in time.
        """
        errors: list[KafkaError] = []

        def note(error: KafkaError | None, _: ConfluentMessage) -> None:
            errors.extend([] if error is None else [error])

        for value, headers in messages:
            self._producer.produce(
                topic, value=value, headers=list(headers.items()), partition=0, on_delivery=note
            )
            self._producer.poll(0)
        if left := self._producer.flush(_REQUEST_TIMEOUT):
            raise TimeoutError(f"{left} messages to {topic} were not delivered")
        if errors:
            raise KafkaException(errors[0])

    def consume(self, topic: str) -> list[Message]:
        """Return all messages that a topic has now.

        Messages of one partition are in offset order; aborted transactions are not returned.
        """
        consumer = Consumer(
            # The client requires a group; nothing is committed.
            {**self._consumer_config("butler-writer-tests"), "enable.partition.eof": True}
        )
        try:
            partitions = self._partitions(topic)
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            messages: list[Message] = []
            while partitions:
                message = consumer.poll(_REQUEST_TIMEOUT)
                if message is None:
                    raise TimeoutError(
                        f"{topic}: partitions {partitions} were not read to their end"
                    )
                error = message.error()
                if error is None:
                    messages.append(_to_message(message))
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - documented for users
                    partitions.remove(_int(message.partition()))
                else:
                    raise KafkaException(error)
            return messages
        finally:
            consumer.close()

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the offset of the next message of each partition."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): latest for number in self._partitions(topic)}

        def offsets() -> dict[int, int]:
            answers = self.admin.list_offsets(asked, request_timeout=_REQUEST_TIMEOUT)
            return {
                partition.partition: answer.result(_REQUEST_TIMEOUT).offset
                for partition, answer in answers.items()
            }

        return _ask(f"the leaders of {topic}", _LEADER_STARTS, offsets)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return a group's committed offsets by partition; without one there is no entry."""
        asked = [TopicPartition(topic, number) for number in self._partitions(topic)]
        consumer = self._consumer(group)
        answers = _ask_coordinator(group, lambda: consumer.committed(asked, _REQUEST_TIMEOUT))
        return {found.partition: found.offset for found in answers if found.offset >= 0}

    def commit(self, group: str, topic: str, offset: int) -> None:
        """Set a group's committed offset of each partition; the group must have no members."""
        asked = [TopicPartition(topic, number, offset) for number in self._partitions(topic)]
        consumer = self._consumer(group)
        _ask_coordinator(group, lambda: consumer.commit(offsets=asked, asynchronous=False))

    def _consumer(self, group: str) -> Consumer:
        """Return a consumer for a group's offsets; it is no member of the group.

        The administration client must not be used for them: if a broker that was just started
        answers "not coordinator", librdkafka ends this process by a segmentation fault
        (confluentinc/librdkafka#5040).
        """
        if group not in self._consumers:
            # One at a time, since each has several threads.
            self._consumers = {group: Consumer(self._consumer_config(group))}
        return self._consumers[group]

    def _consumer_config(self, group: str) -> dict[str, str | int | float | bool]:
        return {**self.client_config, "group.id": group, "enable.auto.commit": False}

    def _partitions(self, topic: str) -> set[int]:
        found = self.admin.list_topics(topic, timeout=_REQUEST_TIMEOUT).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return set(found.partitions)


def _ask_coordinator(
    group: str, ask: Callable[[], list[TopicPartition] | None]
) -> list[TopicPartition]:
    """Ask for a group's offsets once it has a coordinator, and return the answer."""
    return _ask(f"the coordinator of the group {group}", _COORDINATOR_STARTS, ask) or []


def _ask(whom: str, starting: Collection[int], ask: Callable[[], T]) -> T:
    """Ask again as long as the error is one of a broker that has just started."""

    def answer() -> tuple[T] | None:
        try:
            return (ask(),)
        except KafkaException as error:
            if error.args[0].code() in starting:
                return None
            raise

    answered = wait_until(answer, _REQUEST_TIMEOUT, whom)
    assert answered is not None
    return answered[0]


def _to_message(message: ConfluentMessage) -> Message:
    return Message(
        partition=_int(message.partition()),
        offset=_int(message.offset()),
        key=message.key(),
        value=message.value(),
        headers=tuple(cast(list[tuple[str, bytes]], message.headers() or [])),
        timestamp_ms=message.timestamp()[1],
    )


def _int(number: int | None) -> int:
    """Narrow an optional type of confluent-kafka; a delivered message always has the value."""
    assert number is not None
    return number
