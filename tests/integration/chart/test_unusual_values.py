"""Unusual legal values give valid objects, and what cannot work is refused by its name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from app.installation import own_version
from tests.support.chart import EXAMPLES, RELEASE, Chart, Manifest, environment_of
from tests.support.kinds import refusal_of

Values = dict[str, Any]


def values_of(name: str, path: str, value: object) -> Values:
    """Return the values of a file in ``ci/`` with another one at a path, such as ``image.tag``."""
    values: Values = yaml.safe_load(EXAMPLES[name].read_text())
    *parents, key = path.split(".")
    part = values
    for parent in parents:
        part = part.setdefault(parent, {})
    part[key] = value
    return values


def valid(manifest: Manifest) -> Manifest:
    """Return a manifest, after its objects were checked."""
    assert [refusal for each in manifest.values() if (refusal := refusal_of(each))] == []
    return manifest


def worker_of(manifest: Manifest) -> Values:
    """Return the container of the only StatefulSet, or of that for the role ``write``."""
    workers = manifest.of_kind("StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
    assert isinstance(workers, dict)
    return workers


@pytest.mark.parametrize(
    ("tag", "expected"), [(20261127, "20261127"), (2.2, "2.2"), ("007", "007"), ("", own_version())]
)
def test_a_tag_is_written_as_it_was_given(chart: Chart, tag: object, expected: str) -> None:
    manifest = chart.render(values_of("deployed", "image.tag", tag))
    assert worker_of(manifest)["image"] == f"ghcr.io/lsst-dm/butler-writer:{expected}"


@pytest.mark.parametrize(
    ("path", "value", "limits"),
    [
        ("resources.memoryLimit", 1073741824, {"cpu": "1", "memory": "1073741824"}),
        ("resources.memoryLimit", "1048576Ki", {"cpu": "1", "memory": "1048576Ki"}),
        ("resources.cpuLimit", None, {"memory": "1Gi"}),
        ("resources", None, None),
    ],
)
def test_limits_may_be_numbers_and_may_be_missing(
    chart: Chart, path: str, value: object, limits: object
) -> None:
    manifest = valid(chart.render(values_of("deployed", path, value)))
    assert worker_of(manifest)["resources"]["limits"] == limits


def test_annotations_may_be_left_empty(chart: Chart) -> None:
    valid(chart.render(values_of("deployed", "podAnnotations", None)))


@pytest.mark.parametrize(
    ("release", "name"), [("123", "123-butler-writer-service"), ("prompt", "0123")]
)
def test_a_name_of_digits_stays_a_name(chart: Chart, release: str, name: str) -> None:
    values = values_of("deployed", "fullnameOverride", name)
    valid(chart.render(values, release))


def test_keda_gets_texts(chart: Chart) -> None:
    values = values_of("everything", "settings.BUTLER_WRITER_KAFKA_GROUP", 12345678)
    values["autoscaling"]["lag"] = 10_000_000
    manifest = valid(chart.render(values))
    (trigger,) = manifest["ScaledObject", RELEASE]["spec"]["triggers"]
    assert trigger["metadata"]["lagThreshold"] == "10000000"
    environment = environment_of(manifest["StatefulSet", RELEASE]["spec"]["template"])
    assert trigger["metadata"]["consumerGroup"] == environment["BUTLER_WRITER_KAFKA_GROUP"]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        # A key without a value is null, and Helm removes the key.
        ("outputRepo", None, "outputRepo"),
        ("kafka.topic", None, "topic"),
        ("shutdownTimeout", None, "shutdownTimeout"),
        ("networkPolicy.enabled", None, "enabled"),
        ("resources.memoryLimit", "1048576ki", "memoryLimit"),
        ("resources.cpuLimit", "1..5", "cpuLimit"),
        ("resources.cpuLimit", -1, "cpuLimit"),
        ("autoscaling.scaleDownSeconds", 0, "scaleDownSeconds"),
        ("autoscaling.minReplicas", 7, "autoscaling.minReplicas is higher than"),
        ("fullnameOverride", "a" * 53, "a has more than 52 characters"),
        ("nameOverride", "a" * 53, "a has more than 52 characters"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(
    chart: Chart, path: str, value: object, named: str
) -> None:
    assert named in chart.try_values(values_of("everything", path, value))


def test_the_name_of_a_downstream_repository_counts(chart: Chart) -> None:
    values = values_of("everything", "fullnameOverride", "a" * 46)
    assert "a-public has more than 52 characters" in chart.try_values(values)
    valid(chart.render(values | {"fullnameOverride": "a" * 45}))
