"""The metrics of a worker, for Prometheus (``/metrics``); ``docs/metrics.md`` lists them.

A series that appears at its first increment has no earlier value, so that ``increase()`` misses it.
So every series whose labels are known exists from the start.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from app.downstream.selection import Exclusion
from app.intake.ledger import Receipt
from app.telemetry.labels import Needed, Step
from models.causes import Cause

__all__ = [
    "ACCEPTED_GAPS",
    "ASSIGNED_PARTITIONS",
    "BUILD_INFO",
    "BYTES_AHEAD",
    "BYTES_HELD",
    "CAREFUL",
    "CHAIN_UPDATES",
    "COMMITS",
    "CONSUMER_LAG",
    "DATASETS",
    "DEAD_LETTERS",
    "DEPENDENCY_UP",
    "EVENTS",
    "EXCLUDED_DATASETS",
    "FLUSH_SECONDS",
    "HELD_DATASETS",
    "INPUT_PARTITIONS",
    "LATENCY_SECONDS",
    "LOG_RESETS",
    "LOST_MESSAGES",
    "LOST_TAGS",
    "MAX_BYTES_HELD",
    "MEMORY_LIMIT_BYTES",
    "MISMATCHED_RECORDS",
    "OLDEST_UNACKED_SECONDS",
    "OPEN_TRANSACTION_SECONDS",
    "OVERDUE_SECONDS",
    "POSTPONED_EVENTS",
    "PRODUCT_BYTES",
    "PRODUCT_LOG_ENABLED",
    "PRODUCT_MESSAGES",
    "READY",
    "RECEIPTS",
    "REPLACED_RECORDS",
    "RETENTION_PROBLEM",
    "RETRIES",
    "SKIPPED_CHAIN_RECORDS",
    "SKIPPED_CHAIN_UPDATES",
    "STEP_FAILING_SECONDS",
    "STEP_RUNNING_SECONDS",
    "STORE_LOST",
    "TYPES_WITHOUT_RULE",
    "WAITING_DATASETS",
    "WAITING_MESSAGES",
    "WINDOWS",
    "WINDOW_BYTES",
    "WINDOW_EVENTS",
]

KIB, MIB = 1024, 1024 * 1024

RECEIPTS = Counter(
    "butler_writer_receipts", "Messages that have arrived, by what the ledger decided", ["receipt"]
)
EVENTS = Counter(
    "butler_writer_events",
    "Events that are finished: written, or set aside as dead letters",
    ["outcome"],
)
WINDOWS = Counter("butler_writer_windows", "Windows that were flushed")
DATASETS = Counter(
    "butler_writer_datasets", "Datasets of flushed windows: inserted, or already there", ["state"]
)
DEAD_LETTERS = Counter("butler_writer_dead_letters", "Events set aside, by cause", ["error_class"])
MISMATCHED_RECORDS = Counter(
    "butler_writer_mismatched_records", "Dimension records that differ from the stored ones"
)
REPLACED_RECORDS = Counter(
    "butler_writer_replaced_records",
    "Dimension records of a downstream repository that got other values",
)
LOST_TAGS = Counter(
    "butler_writer_lost_tags",
    "Datasets without the tag of a downstream repository: another one with their data ID has it",
)
RETRIES = Counter(
    "butler_writer_retries", "Steps of a flush that failed and were retried", ["step"]
)
CHAIN_UPDATES = Counter("butler_writer_chain_updates", "Chain updates sent")
SKIPPED_CHAIN_UPDATES = Counter(
    "butler_writer_skipped_chain_updates", "Chain updates that cannot be read, and were skipped"
)
SKIPPED_CHAIN_RECORDS = Counter(
    "butler_writer_skipped_chain_records",
    "Records of the chains' changelog that cannot be read, and were skipped",
)
PRODUCT_MESSAGES = Counter("butler_writer_product_messages", "Messages sent to the product log")
PRODUCT_BYTES = Counter("butler_writer_product_bytes", "Bytes of the messages of the product log")
EXCLUDED_DATASETS = Counter(
    "butler_writer_excluded_datasets",
    "Datasets that a downstream repository does not get: by a rule, for lack of a rule, or since "
    "they were withdrawn",
    ["reason"],
)
COMMITS = Counter("butler_writer_commits", "Commits of offsets that the brokers have accepted")
ACCEPTED_GAPS = Counter(
    "butler_writer_accepted_gaps",
    "Gaps of the log that were passed over: transaction markers, aborted transactions, compaction",
)
LOG_RESETS = Counter(
    "butler_writer_log_resets",
    "Partitions that were read from their first offset because the log lacks the committed one",
)
LOST_MESSAGES = Counter(
    "butler_writer_lost_messages", "Offsets that the log dropped (retention) before they were read"
)

PRODUCT_LOG_ENABLED = Gauge(
    "butler_writer_product_log_enabled", "1 if the product log is on; 0 if it is off"
)
WAITING_DATASETS = Gauge(
    "butler_writer_waiting_datasets",
    "Datasets under embargo that this worker will release when they are due",
)
HELD_DATASETS = Gauge(
    "butler_writer_held_datasets",
    "Datasets with an embargo and no known end of their observation: held until a rule says more",
)
WAITING_MESSAGES = Gauge(
    "butler_writer_waiting_messages", "Entries of the table waiting that this worker has"
)
OVERDUE_SECONDS = Gauge(
    "butler_writer_overdue_seconds",
    "Time since the datasets that have waited longest were due; 0 if none is due",
)
CAREFUL = Gauge(
    "butler_writer_careful",
    "1 while events are tried one at a time, since one of them ends its workers; else 0",
)
TYPES_WITHOUT_RULE = Gauge(
    "butler_writer_types_without_rule",
    "Dataset types of the product log that no release rule matches",
)
RETENTION_PROBLEM = Gauge(
    "butler_writer_retention_problem",
    "1 if the product log may remove what waits, as found when the worker started; else 0",
)
READY = Gauge("butler_writer_ready", "1 if the worker can do its work now, as /readyz says; else 0")
DEPENDENCY_UP = Gauge(
    "butler_writer_dependency_up",
    "1 if what the worker needs answers; 0 if it is away or refuses",
    ["dependency"],
)
STORE_LOST = Gauge(
    "butler_writer_store_lost",
    "1 while a store has none of the files that it had before, or its root does not exist; else 0",
)
ASSIGNED_PARTITIONS = Gauge(
    "butler_writer_assigned_partitions", "Partitions of the input topic that the worker reads"
)
INPUT_PARTITIONS = Gauge(
    "butler_writer_input_partitions", "Partitions that the input topic has; 0 if not known yet"
)
CONSUMER_LAG = Gauge(
    "butler_writer_consumer_lag",
    "Messages of an own partition after the acked offset",
    ["partition"],
)
OLDEST_UNACKED_SECONDS = Gauge(
    "butler_writer_oldest_unacked_seconds",
    "Time since the oldest event that is not acked was received; 0 if there is none",
    ["partition"],
)
OPEN_TRANSACTION_SECONDS = Gauge(
    "butler_writer_open_transaction_seconds",
    "Time for which a sender's open transaction has held reading back; 0 below 10 s",
)
BYTES_HELD = Gauge("butler_writer_bytes_held", "Bytes of events received and not yet written")
MAX_BYTES_HELD = Gauge(
    "butler_writer_max_bytes_held", "Limit on the bytes held (BUTLER_WRITER_MAX_BYTES_HELD)"
)
POSTPONED_EVENTS = Gauge(
    "butler_writer_postponed_events", "Events that wait for a turn of their own, apart from others"
)
BYTES_AHEAD = Gauge("butler_writer_bytes_ahead", "Bytes of events fetched and not yet received")
MEMORY_LIMIT_BYTES = Gauge(
    "butler_writer_memory_limit_bytes",
    "Memory that the process may have (its cgroup's limit); +Inf if there is no limit",
)
STEP_RUNNING_SECONDS = Gauge(
    "butler_writer_step_running_seconds",
    "How long the current attempt of a step has been running; 0 if the step is not running",
    ["step"],
)
STEP_FAILING_SECONDS = Gauge(
    "butler_writer_step_failing_seconds",
    "Time since a step that is being retried failed first; 0 if none is",
    ["step"],
)
BUILD_INFO = Gauge(
    "butler_writer_build_info",
    "1; the labels are the versions of the service, of its libraries, and of the dimension universe"
    " (empty until the repository is open)",
    ["version", "daf_butler", "faust", "universe"],
)

FLUSH_SECONDS = Histogram(
    "butler_writer_flush_seconds",
    "Time of each step of a flush",
    ["step"],
    buckets=(0.01, 0.03, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 10, 30, 100),
)
LATENCY_SECONDS = Histogram(
    "butler_writer_latency_seconds",
    "Time from the timestamp of an event's message to its ack",
    buckets=(0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 45, 60, 90, 120, 300, 600),
)
WINDOW_EVENTS = Histogram(
    "butler_writer_window_events",
    "Events of a flushed window",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
WINDOW_BYTES = Histogram(
    "butler_writer_window_bytes",
    "Bytes of a flushed window's messages",
    buckets=(16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB),
)


def _create_known_series() -> None:
    for step in Step:
        for by_step in (RETRIES, STEP_RUNNING_SECONDS, STEP_FAILING_SECONDS, FLUSH_SECONDS):
            by_step.labels(step)
    for receipt in Receipt:
        RECEIPTS.labels(receipt.value)
    for outcome in ("written", "dead"):
        EVENTS.labels(outcome)
    for state in ("inserted", "already_there"):
        DATASETS.labels(state)
    for cause in Cause:
        DEAD_LETTERS.labels(cause)
    for exclusion in Exclusion:
        EXCLUDED_DATASETS.labels(exclusion)
    for needed in Needed:
        DEPENDENCY_UP.labels(needed)


_create_known_series()
