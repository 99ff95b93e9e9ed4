"""The metrics of a worker, for Prometheus (``/metrics``)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "BYTES_HELD",
    "DATASETS",
    "DEAD_LETTERS",
    "EVENTS",
    "FLUSH_SECONDS",
    "LOG_RESETS",
    "MISMATCHED_RECORDS",
    "OPEN_TRANSACTION_SECONDS",
    "POSTPONED_EVENTS",
    "RECEIPTS",
    "RETRIES",
    "STEP_RUNNING_SECONDS",
    "WINDOWS",
]

RECEIPTS = Counter(
    "butler_writer_receipts", "Messages delivered by Kafka, by the ledger's receipt", ["receipt"]
)
EVENTS = Counter("butler_writer_events", "Events settled, by outcome", ["outcome"])
WINDOWS = Counter("butler_writer_windows", "Windows flushed")
DATASETS = Counter(
    "butler_writer_datasets", "Datasets of flushed windows: inserted, or already there", ["state"]
)
DEAD_LETTERS = Counter("butler_writer_dead_letters", "Events set aside, by cause", ["error_class"])
MISMATCHED_RECORDS = Counter(
    "butler_writer_mismatched_records", "Dimension records that differ from the stored ones"
)
RETRIES = Counter(
    "butler_writer_retries", "Steps of a flush that failed and were retried", ["step"]
)
LOG_RESETS = Counter(
    "butler_writer_log_resets",
    "Partitions that were read from their first offset because the log lacks the committed one",
)
OPEN_TRANSACTION_SECONDS = Gauge(
    "butler_writer_open_transaction_seconds",
    "Time for which a sender's open transaction has held reading back; 0 below 10 s",
)
BYTES_HELD = Gauge("butler_writer_bytes_held", "Bytes of events received and not yet written")
POSTPONED_EVENTS = Gauge(
    "butler_writer_postponed_events", "Events that wait for a turn of their own, apart from others"
)
BYTES_AHEAD = Gauge("butler_writer_bytes_ahead", "Bytes of events fetched and not yet received")
STEP_RUNNING_SECONDS = Gauge(
    "butler_writer_step_running_seconds",
    "How long the current attempt of a step has been running; 0 if the step is not running",
    ["step"],
)
FLUSH_SECONDS = Histogram(
    "butler_writer_flush_seconds",
    "Time of each step of a flush",
    ["step"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
