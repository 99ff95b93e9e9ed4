"""Prints the Grafana dashboard of the Butler Writer: ``make dashboard`` writes ``dashboard.json``.

The first row answers in ten seconds whether data is flowing and how far behind it is. Each panel
has a link to the section of the runbook that says what to do. Alerts are shown as annotations.
"""

from __future__ import annotations

import sys
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml
from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    logs,
    loki,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

from charts import Chart
from downstream_panels import DOWNSTREAM
from panels import (
    FIRST_LOOK,
    HOW_FAR_BEHIND,
    LOG_PANELS,
    PROCESSES,
    VERSIONS,
    WHAT_IS_WRONG,
    WINDOWS,
)

RUNBOOK = "https://butler-writer.lsst.io/runbook.html"

METRICS = DataSourceRef(type_val="prometheus", uid="${metrics}")
LOGS = DataSourceRef(type_val="loki", uid="${logs}")

COLORS = {"critical": "red", "warning": "orange"}


def link(section: str) -> dashboard.DashboardLink:
    """Return the link to a section of the runbook."""
    url = f"{RUNBOOK}#{section.lower()}"
    own = dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK)
    return own.url(url).target_blank(True)


def queries(chart: Chart) -> list[prometheus.Dataquery]:
    """Return the queries of a panel."""
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter)
        for letter, (expression, legend) in zip(ascii_uppercase, chart.queries, strict=False)
    ]


def curves(chart: Chart) -> timeseries.Panel:
    """Return the panel as curves."""
    panel = timeseries.Panel().title(chart.title).unit(chart.unit).description(chart.description)
    panel.min(0).fill_opacity(10).span(8).height(7).datasource(METRICS).links([link(chart.section)])
    for query in queries(chart):
        panel.with_target(query)
    return panel


def number(chart: Chart) -> stat.Panel:
    """Return the panel as one number, which is green or red."""
    steps = [Threshold(value=None, color="green" if chart.red_below is None else "red")]
    if chart.red is not None:
        steps.append(Threshold(value=chart.red, color="red"))
    if chart.red_below is not None:
        steps.append(Threshold(value=chart.red_below, color="green"))
    panel = stat.Panel().title(chart.title).unit(chart.unit).description(chart.description)
    panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    panel.span(4).height(4).datasource(METRICS).links([link(chart.section)])
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for query in queries(chart):
        panel.with_target(query.instant())
    return panel


def log_panel(title: str, description: str, section: str, chosen: str, text: str) -> logs.Panel:
    """Return a panel with log lines."""
    query = f"{{$log_stream}} | json | {chosen} | line_format `{text}`"
    panel = logs.Panel().title(title).description(description).unit("short").datasource(LOGS)
    panel.show_time(True).enable_log_details(True).wrap_log_message(True).span(12).height(7).links(
        [link(section)]
    )
    return panel.with_target(loki.Dataquery().expr(query).ref_id("A"))


def annotation(alert: str, severity: str) -> dashboard.AnnotationQuery:
    """Return the annotation that shows when an alert fired."""
    own = dashboard.AnnotationQuery().name(alert).datasource(METRICS).enable(True)
    own.expr(f'ALERTS{{alertname="{alert}", alertstate="firing"}}').title_format(alert)
    own.text_format("{{problem}} {{instance}}").icon_color(COLORS[severity])
    return own.hide(True)  # a switch for each would fill the top


def severities() -> dict[str, str]:
    """Return the severity of each alert."""
    found = {}
    for file in ("alerts.yaml", "downstream_alerts.yaml"):
        (group,) = yaml.safe_load(Path(__file__).with_name(file).read_text())["groups"]
        found.update({rule["alert"]: rule["labels"]["severity"] for rule in group["rules"]})
    return found


def build() -> Any:
    """Return the dashboard."""
    own = dashboard.Dashboard("Butler Writer").uid("butler-writer").tags(["butler-writer"])
    own.refresh("10s").time("now-1h", "now").timezone("utc").readonly()
    own.link(dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK).url(RUNBOOK))
    own.with_variable(dashboard.DatasourceVariable("metrics").label("Metrics").type("prometheus"))
    own.with_variable(dashboard.DatasourceVariable("logs").label("Logs").type("loki"))
    own.with_variable(
        dashboard.QueryVariable("job")
        .label("Job")
        .datasource(METRICS)
        .query("label_values(butler_writer_ready, job)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
    )
    own.with_variable(
        dashboard.TextBoxVariable("log_stream")
        .label("Log stream")
        .default_value('container=~"butler-writer.*"')
    )
    for alert, severity in severities().items():
        own.annotation(annotation(alert, severity))
    own.with_row(dashboard.Row("Is data flowing?"))
    for chart in FIRST_LOOK:
        own.with_panel(number(chart))
    rows = {"How far behind?": HOW_FAR_BEHIND, "What is wrong?": WHAT_IS_WRONG}
    rows |= {"Log": [], "Windows": WINDOWS, "Downstream": DOWNSTREAM, "Workers": PROCESSES}
    for title, charts in rows.items():
        own.with_row(dashboard.Row(title))
        for chart in charts:
            own.with_panel(curves(chart))
        if title == "Log":
            for texts in LOG_PANELS:
                own.with_panel(log_panel(*texts))
    versions = number(VERSIONS).span(24).text_mode(BigValueTextMode.VALUE_AND_NAME)
    return own.with_panel(versions).build()


if __name__ == "__main__":
    sys.stdout.write(JSONEncoder(sort_keys=True, indent=2).encode(build()) + "\n")
