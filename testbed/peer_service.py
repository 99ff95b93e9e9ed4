"""A stand-in for the deployed service, written from its description.

``python -m testbed.peer_service`` reads the same environment variables as a worker. It consumes up
to 500 events, or those of 30 s, writes them by the calls of the deployed service, and sends the
announcement in a Kafka transaction, together with the offsets. An error ends it, to be started
again. Like a process that handles no signal, it does not leave the group when it is ended: its
session has to expire.
"""

import os
from datetime import UTC, datetime
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaException, Producer
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from .peer import PeerWriter

__all__ = ["SECONDS", "SESSION"]

#: Variables with which tests make it wait for less time than the deployed service.
SECONDS, SESSION = "PEER_SECONDS", "PEER_SESSION_SECONDS"

_MOST = 500


def _login() -> dict[str, str]:
    if "KAFKA_USERNAME" not in os.environ:
        return {}
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": os.environ["KAFKA_USERNAME"],
        "sasl.password": os.environ["KAFKA_PASSWORD"],
    }


class _Peer:
    """The deployed service, connected to brokers and repository."""

    def __init__(self) -> None:
        group = os.environ.get("BUTLER_WRITER_KAFKA_GROUP", "butler-writer")
        common = {"bootstrap.servers": os.environ["KAFKA_CLUSTER"], **_login()}
        self._output = os.environ["KAFKA_OUTPUT_TOPIC"]
        self._seconds = float(os.environ.get(SECONDS, "30"))
        self._lists = ResourcePath(os.environ["OUTPUT_DATASET_LIST_DIRECTORY"], forceDirectory=True)
        self._writer = PeerWriter(
            Butler.from_config(os.environ["BUTLER_REPOSITORY"], writeable=True)
        )
        self._producer = Producer({**common, "transactional.id": f"{group}-output"})
        self._producer.init_transactions()
        self._consumer = Consumer(
            {
                **common,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": int(1000 * float(os.environ.get(SESSION, "45"))),
            }
        )
        self._consumer.subscribe([os.environ["KAFKA_TOPIC"]])

    def run(self) -> None:
        """Write batches of events for ever."""
        while True:
            messages = self._consumer.consume(_MOST, self._seconds)
            for message in messages:
                if error := message.error():
                    raise KafkaException(error)
            if values := [message.value() or b"" for message in messages]:
                self._writer.write(values)
                self._finish(self._announcement(values))

    def _announcement(self, values: list[bytes]) -> bytes:
        """Write the list of the datasets, and return the message that names it."""
        batch = str(uuid4())
        name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}-{batch}.json"
        datasets = [
            dataset
            for value in values
            for file in orjson.loads(value)["datasets"]
            for dataset in file["refs"]
        ]
        self._lists.join(name).write(orjson.dumps({"batch_id": batch, "datasets": datasets}))
        return orjson.dumps(
            {
                "type": "batch-ingested",
                "batch_id": batch,
                "origin": "prompt_processing",
                "batch_file": name,
            }
        )

    def _finish(self, announcement: bytes) -> None:
        """Announce, and commit the offsets, in one transaction."""
        self._producer.begin_transaction()
        self._producer.produce(self._output, announcement)
        self._producer.send_offsets_to_transaction(
            self._consumer.position(self._consumer.assignment()),
            self._consumer.consumer_group_metadata(),
        )
        self._producer.commit_transaction()


if __name__ == "__main__":
    _Peer().run()
