"""The configuration of Faust."""

from __future__ import annotations

from typing import Any

import faust

from app.kafka.connection import SASL_MECHANISM, KafkaConnection
from app.kafka.held_events import HeldEvent
from app.kafka.private.router import PagesRouter
from app.kafka.private.unrecovered_tables import UnrecoveredTables
from app.settings import MIB, Settings
from app.telemetry.log import logging_config

__all__ = ["configuration"]

#: Seconds.  A worker that misses Kafka's poll interval, because it is idle or slow, leaves the
#: group for good.
ENDLESS_POLL_INTERVAL = 7 * 24 * 3600.0


def configuration(settings: Settings, connection: KafkaConnection) -> dict[str, Any]:
    """Return the arguments of `faust.App`."""
    kafka = settings.kafka
    host = settings.service.web_host
    return {
        **({} if host is None else {"web_host": host}),
        # A pod whose address is IPv6 is probed there, and need have no other one.
        **({"web_bind": "::"} if host is not None and host.startswith("[") else {}),
        "version": 1,  # a higher one would change every internal topic's name
        "broker": [f"kafka://{broker}" for broker in connection.brokers] or "kafka://",
        "broker_credentials": _credentials(connection),
        "autodiscover": ["agents", "app.commands", "app.tables", "app.web"],
        "origin": "app",
        "store": "memory://",
        "datadir": settings.data_directory,
        "Event": HeldEvent,
        "Worker": "app.worker.Worker",
        # The agent chains reads its table's changelog beside the events.
        "TableManager": UnrecoveredTables,
        "Router": PagesRouter,
        "logging_config": logging_config(settings),
        "consumer_auto_offset_reset": "earliest",
        "topic_disable_leader": True,
        "topic_allow_declare": False,  # app.kafka.checks creates and checks the topics
        "table_standby_replicas": 0,
        "stream_publish_on_commit": False,
        # Unacked events are open windows (rule rebalance-starts-a-new-epoch).
        "stream_wait_empty": False,
        # Faust's own queues are part of the memory bound (rule bounded-memory).
        "stream_buffer_maxsize": 64,
        "broker_max_poll_records": 64,
        # Partitions that are added to the input topic are found within this time.
        "consumer_metadata_max_age_ms": 30_000,
        "consumer_max_fetch_size": kafka.max_message_bytes + MIB,
        "producer_max_request_size": kafka.max_message_bytes + MIB,
        "producer_acks": -1,
        "producer_request_timeout": 20.0,  # the default, 1200 s, also blocks rebalances
        "broker_commit_interval": kafka.commit_interval,
        "broker_session_timeout": kafka.session_timeout,
        "broker_heartbeat_interval": kafka.session_timeout / 10,
        "broker_request_timeout": max(40.0, kafka.session_timeout + 10),
        "broker_rebalance_timeout": kafka.rebalance_timeout,
        "broker_max_poll_interval": ENDLESS_POLL_INTERVAL,
        # Longer than any flush may take while a dependency is unavailable.
        "stream_processing_timeout": ENDLESS_POLL_INTERVAL,
        "broker_commit_livelock_soft_timeout": ENDLESS_POLL_INTERVAL,
    }


def _credentials(connection: KafkaConnection) -> Any:
    if connection.username is not None:
        return faust.SASLCredentials(
            username=connection.username,
            password=connection.password,
            mechanism=SASL_MECHANISM,
            ssl_context=connection.tls_context,
        )
    if connection.tls_context is not None:
        return faust.SSLCredentials(context=connection.tls_context)
    return None
