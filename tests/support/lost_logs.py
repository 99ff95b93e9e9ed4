"""Ways in which the input topic loses its messages; the group's offsets survive."""

from __future__ import annotations

from confluent_kafka import KafkaException

from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from tests.support.deployment import Deployment

__all__ = ["lose_log", "make_topic_again"]


def lose_log(kafka: ApacheKafka, topic: str) -> None:
    """Start the broker again, without the messages of a topic, as after the loss of a disk."""
    kafka.stop()
    kafka.lose_log(topic)
    kafka.start()


def make_topic_again(deployment: Deployment) -> None:
    """Delete the input topic with all its messages, and create it again."""
    cluster, topic = deployment.cluster, deployment.topic
    cluster.admin.delete_topics([topic])[topic].result(20)

    def is_created() -> bool:
        try:
            cluster.create_topic(topic, deployment.partitions)
        except KafkaException:  # it is still being deleted
            return False
        return True

    wait_until(is_created, 30, "the topic is created again")
