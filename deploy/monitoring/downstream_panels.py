"""What the dashboard shows of the role `replicate`, which fills a downstream repository."""

from __future__ import annotations

from charts import Chart, per_second, workers

_GONE = 'butler_writer_dead_letters_total{job=~"$job", error_class="missing_source_file"}'

DOWNSTREAM = [
    Chart(
        "Datasets that wait",
        "short",
        "Under embargo; held, since the end of their observation is not known; and the messages.",
        "ButlerWriterDownstreamHeld",
        [
            (f"sum({workers('waiting_datasets')})", "waiting"),
            (f"sum({workers('held_datasets')})", "held"),
            (f"sum({workers('waiting_messages')})", "messages"),
        ],
    ),
    Chart(
        "Overdue",
        "s",
        "Time since the datasets that have waited longest were due.",
        "ButlerWriterDownstreamOverdue",
        [(f"max({workers('overdue_seconds')})", "oldest")],
    ),
    Chart(
        "Not released, not tagged",
        "cps",
        "Excluded by a rule, or for lack of one; and without the tag.",
        "ButlerWriterDownstreamTypesWithoutRule",
        [
            (per_second("excluded_datasets_total", "reason"), "{{reason}}"),
            (per_second("lost_tags_total", "job"), "without the tag"),
            (per_second("replaced_records_total", "job"), "records replaced"),
        ],
    ),
    Chart(
        "Types without a rule",
        "short",
        "Dataset types that no release rule matches.",
        "ButlerWriterDownstreamTypesWithoutRule",
        [(f"max({workers('types_without_rule')})", "types")],
    ),
    Chart(
        "Files that were gone",
        "short",
        "Messages with such files, within an hour.",
        "ButlerWriterDownstreamFilesGone",
        [
            (f"sum(increase({_GONE}[1h]))", "messages"),
        ],
    ),
    Chart(
        "Retention of the product log",
        "bool_on_off",
        "On: it may remove what waits.",
        "ButlerWriterDownstreamLogTooShort",
        [(f"max({workers('retention_problem')})", "too short")],
    ),
]
