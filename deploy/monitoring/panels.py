"""What the dashboard shows: its panels by rows, as PromQL and LogQL."""

from __future__ import annotations

from charts import ALERTS, OURS, Chart, per_second, quantile, workers

FIRST_LOOK = [
    Chart(
        "Alerts that fire",
        "short",
        "Names are in the annotations below.",
        "alerts",
        [(f"count({ALERTS}) or vector(0)", "")],
        red=1,
    ),
    Chart(
        "Workers ready",
        "short",
        "Workers that can do their work now. 0: nothing is written.",
        "ButlerWriterNoWorker",
        [(f"sum({workers('ready')})", "")],
        red_below=1,
    ),
    Chart(
        "Events finished per minute",
        "short",
        "0 while pods send nothing; look at the lag, too.",
        "ButlerWriterStuck",
        [(f"sum(rate({workers('events_total')}[5m])) * 60", "")],
    ),
    Chart(
        "Events that wait",
        "short",
        "Consumer lag. Some hundreds for seconds are a visit.",
        "ButlerWriterLagGrowing",
        [(f"sum({workers('consumer_lag')})", "")],
        red=500,
    ),
    Chart(
        "Oldest unfinished event",
        "s",
        "Age of the oldest event that a worker holds.",
        "ButlerWriterStuck",
        [(f"max({workers('oldest_unacked_seconds')})", "")],
        red=300,
    ),
    Chart(
        "Latency, 99 %",
        "s",
        "From the pod's send to the end of the write, over 10 minutes.",
        "ButlerWriterSlow",
        [(quantile(0.99, "latency_seconds", window="10m"), "")],
        red=60,
    ),
]

HOW_FAR_BEHIND = [
    Chart(
        "Events that wait, by partition",
        "short",
        "Messages of the log after the acked offset.",
        "ButlerWriterLagGrowing",
        [(f"max by (partition) ({workers('consumer_lag')})", "{{partition}}")],
    ),
    Chart(
        "Oldest unfinished event, by partition",
        "s",
        "It grows while nothing is finished.",
        "ButlerWriterStuck",
        [(f"max by (partition) ({workers('oldest_unacked_seconds')})", "{{partition}}")],
    ),
    Chart(
        "Latency",
        "s",
        "From the pod's send to the end of the write.",
        "ButlerWriterSlow",
        [(quantile(share, "latency_seconds"), f"{share:.0%}") for share in (0.5, 0.99)],
    ),
    Chart(
        "Events",
        "eps",
        "Finished events: written, or set aside (dead).",
        "ButlerWriterManyDeadLetters",
        [(per_second("events_total", "outcome"), "{{outcome}}")],
    ),
    Chart(
        "Datasets",
        "cps",
        "Inserted, or already there (delivered again).",
        "ButlerWriterSlow",
        [(per_second("datasets_total", "state"), "{{state}}")],
    ),
    Chart(
        "Dead letters, by cause",
        "short",
        "Events that were set aside within 5 minutes.",
        "ButlerWriterDeadLetters",
        [
            (
                f"sum by (error_class) (increase({workers('dead_letters_total')}[5m]))",
                "{{error_class}}",
            )
        ],
    ),
]

WHAT_IS_WRONG = [
    Chart(
        "What the workers need",
        "bool_on_off",
        "Off: it is away, or refuses.",
        "ButlerWriterDatabaseAway",
        [(f"min by (dependency) ({workers('dependency_up')})", "{{dependency}}")],
    ),
    Chart(
        "Steps that fail",
        "s",
        "For how long a step has been failing.",
        "ButlerWriterStepFailing",
        [(f"max by (step) ({workers('step_failing_seconds')})", "{{step}}")],
    ),
    Chart(
        "Attempts that run",
        "s",
        "For how long one attempt of a step has been running.",
        "ButlerWriterStuck",
        [(f"max by (step) ({workers('step_running_seconds')})", "{{step}}")],
    ),
    Chart(
        "Repeated steps",
        "cps",
        "Attempts that failed.",
        "ButlerWriterStepFailing",
        [(per_second("retries_total", "step"), "{{step}}")],
    ),
    Chart(
        "Events in turns of their own",
        "short",
        "They are written later, and hold up no other event.",
        "ButlerWriterStuck",
        [(f"sum({workers('postponed_events')})", "events")],
    ),
    Chart(
        "Lost, reset, different",
        "short",
        "Within an hour. Each should stay 0.",
        "ButlerWriterEventsLost",
        [
            (f"sum(increase({workers('lost_messages_total')}[1h]))", "lost messages"),
            (f"sum(increase({workers('log_resets_total')}[1h]))", "log resets"),
            (f"sum(increase({workers('mismatched_records_total')}[1h]))", "records that differ"),
            (f"sum({workers('store_lost')})", "stores that lost all files"),
        ],
    ),
]

WINDOWS = [
    Chart(
        "Time of a step, 99 %",
        "s",
        "Of one attempt.",
        "ButlerWriterSlow",
        [(quantile(0.99, "flush_seconds", by="le, step"), "{{step}}")],
    ),
    Chart(
        "Windows, commits, chain updates",
        "cps",
        "Written, accepted by the brokers, sent; and skipped because they cannot be read.",
        "ButlerWriterStuck",
        [
            (per_second("windows_total", "job"), "windows"),
            (per_second("commits_total", "job"), "commits"),
            (per_second("chain_updates_total", "job"), "chain updates"),
            (per_second("skipped_chain_updates_total", "job"), "skipped chain updates"),
            (per_second("skipped_chain_records_total", "job"), "skipped records of chains"),
        ],
    ),
    Chart(
        "Product log",
        "Bps",
        "Bytes, and messages, that were sent; and whether it is on.",
        "workers-without-the-product-log",
        [
            (per_second("product_bytes_total", "job"), "bytes"),
            (per_second("product_messages_total", "job"), "messages"),
            (f"min({workers('product_log_enabled')})", "on (1) or off (0)"),
        ],
    ),
    Chart(
        "Downstream: datasets that wait",
        "short",
        "Under embargo; held, since the end of their observation is not known; and the messages.",
        "datasets-that-wait-downstream",
        [
            (f"sum({workers('waiting_datasets')})", "waiting"),
            (f"sum({workers('held_datasets')})", "held"),
            (f"sum({workers('waiting_messages')})", "messages"),
        ],
    ),
    Chart(
        "Downstream: overdue",
        "s",
        "Time since the datasets that have waited longest were due.",
        "datasets-that-wait-downstream",
        [(f"max({workers('overdue_seconds')})", "oldest")],
    ),
    Chart(
        "Downstream: not released, not tagged",
        "cps",
        "Excluded by a rule, or for lack of one; and without the tag.",
        "datasets-that-wait-downstream",
        [
            (per_second("excluded_datasets_total", "reason"), "{{reason}}"),
            (per_second("lost_tags_total", "job"), "without the tag"),
            (per_second("replaced_records_total", "job"), "records replaced"),
        ],
    ),
    Chart(
        "Events of a window",
        "short",
        "1 at a quiet time, up to BUTLER_WRITER_WINDOW_EVENTS.",
        "ButlerWriterLagGrowing",
        [(quantile(share, "window_events"), f"{share:.0%}") for share in (0.5, 0.99)],
    ),
    Chart(
        "Bytes of a window",
        "bytes",
        "Up to BUTLER_WRITER_WINDOW_BYTES.",
        "ButlerWriterLagGrowing",
        [(quantile(share, "window_bytes"), f"{share:.0%}") for share in (0.5, 0.99)],
    ),
    Chart(
        "Open transactions of senders",
        "s",
        "For how long one has held reading back.",
        "ButlerWriterStuck",
        [(f"max({workers('open_transaction_seconds')})", "oldest")],
    ),
]

PROCESSES = [
    Chart(
        "Partitions",
        "short",
        "Assigned to workers, and of the input topic.",
        "ButlerWriterPartitionWithoutWorker",
        [
            (f"sum({workers('assigned_partitions')})", "assigned"),
            (f"max({workers('input_partitions')})", "input topic"),
        ],
    ),
    Chart(
        "Memory",
        "bytes",
        "Of each worker, and its limit.",
        "ButlerWriterMemoryNearBound",
        [
            (f"process_resident_memory_bytes {OURS}", "{{instance}}"),
            (f"min({workers('memory_limit_bytes')})", "limit"),
        ],
    ),
    Chart(
        "Events in memory",
        "bytes",
        "Received and not yet written, and fetched ahead.",
        "ButlerWriterMemoryNearBound",
        [
            (workers("bytes_held"), "held {{instance}}"),
            (workers("bytes_ahead"), "ahead {{instance}}"),
            (f"min({workers('max_bytes_held')})", "bound"),
        ],
    ),
    Chart(
        "CPU",
        "percentunit",
        "Processors that a worker uses.",
        "ButlerWriterSlow",
        [(f"rate(process_cpu_seconds_total[$__rate_interval]) {OURS}", "{{instance}}")],
    ),
    Chart(
        "Time since the start",
        "s",
        "It falls to 0 at a restart.",
        "ButlerWriterRestarting",
        [(f"time() - process_start_time_seconds {OURS}", "{{instance}}")],
    ),
    Chart(
        "Gaps of the log",
        "cps",
        "Passed over: transaction markers, compaction. No event is lost.",
        "ButlerWriterEventsLost",
        [(per_second("accepted_gaps_total", "job"), "gaps")],
    ),
]

#: Log panels: title, description, section, filter and the text of a line, on our JSON lines.
LOG_PANELS = [
    (
        "Errors",
        "Lines of level error and critical.",
        "log-lines",
        'level=~"error|critical"',
        "{{.level}}: {{.event}} {{.reason}} {{.error}}",
    ),
    (
        "Warnings",
        "Steps that fail, and what does not answer.",
        "ButlerWriterStepFailing",
        'level="warning"',
        "{{.event}} {{.step}} {{.dependency}} {{.reason}} {{.error}}",
    ),
    (
        "Dead letters",
        "Each event that was set aside.",
        "ButlerWriterDeadLetters",
        'event="event set aside"',
        "{{.error_class}} {{.topic}} {{.partition}}-{{.offset}}: {{.reason}}",
    ),
    (
        "Windows",
        "Each window that was written.",
        "ButlerWriterSlow",
        'event="window flushed"',
        "{{.events}} events, {{.datasets}} datasets, {{.dead_letters}} dead, {{.seconds}} s",
    ),
]

VERSIONS = Chart(
    "Versions",
    "short",
    "Of the service, its libraries and the dimension universe.",
    "upgrade-and-rollback",
    [
        (
            f"count by (version, daf_butler, faust, universe) ({workers('build_info')})",
            "{{version}}, daf_butler {{daf_butler}}, faust {{faust}}, universe {{universe}}",
        )
    ],
)
