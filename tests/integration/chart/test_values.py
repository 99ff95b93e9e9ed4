"""Every value of the chart has an effect, and a misspelt or wrong one is refused."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
import yaml

from testbed.worker import CHECKOUT
from tests.support.chart import CHART, EXAMPLES, RELEASE, Chart

Values = dict[str, Any]
Path = tuple[str, ...]

DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Values = json.loads((CHART / "values.schema.json").read_text())

#: Other values, where another one of the same type would not do.
OTHERS: dict[Path, object] = {
    ("affinity",): {"nodeAffinity": {}},
    ("env",): [{"name": "PGSSLMODE", "value": "require"}],
    ("image", "pullPolicy"): "Always",
    ("image", "tag"): "0.2.0",
    ("ingress", "path"): "/writer",
    ("ingress", "scopes"): ["exec:admin"],
    ("kafka",): {"topic": "other"},
    ("image",): {"tag": "0.2.0"},
    ("logLevel",): "debug",
    ("networkPolicy", "from"): [],
    ("resources",): {"cpuLimit": 4},
    ("resources", "cpuLimit"): 2,
    ("resources", "cpuRequest"): "750m",
    ("resources", "memoryLimit"): "3Gi",
    ("resources", "memoryRequest"): "2Gi",
    ("rules",): "- {dataset_types: ['*'], embargo_hours: 1}\n",
    ("s3",): {"aws_profile": "other"},
    ("s3", "checksum"): "WHEN_SUPPORTED",
    ("settings",): {"BUTLER_WRITER_SOURCE_ROOT": "/repo", "BUTLER_WRITER_WINDOW_EVENTS": 50},
    ("tolerations",): [],
    ("volumeMounts",): [],
    ("volumes",): [],
}


def example(name: str) -> Values:
    """Return the values of a file in ``ci/``, with the defaults of all that it does not set."""
    return merged(DEFAULTS, yaml.safe_load(EXAMPLES[name].read_text()))


def merged(values: Values, others: Values) -> Values:
    """Return values with others over them, as Helm merges them."""
    found = deepcopy(values)
    for key, value in others.items():
        is_part = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if is_part else value
    return found


def leaves(values: Values, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all keys that have no keys of the chart below them."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def other(path: Path, value: object) -> object:
    """Return another value for a key."""
    if path in OTHERS:
        return OTHERS[path]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x"
        case dict():
            return {**value, "example.org/other": "true"}
    raise AssertionError(f"no other value is known for {path}")


def changed(values: Values, path: Path, value: object) -> Values:
    """Return values with another one at a path."""
    *parents, key = path
    found = part = deepcopy(values)
    for parent in parents:
        part = part.setdefault(parent, {})
    part[key] = value
    return found


def at(values: Values, path: Path) -> Any:
    for key in path:
        values = values[key]
    return values


#: All keys but those of downstream repositories, which have a test of their own.
KEYS = [path for path in leaves(DEFAULTS) if path != ("downstream",)]


def test_every_value_changes_what_the_chart_makes(chart: Chart) -> None:
    # KEDA chooses the number of workers in the one with everything.
    fixed = example("production")
    full = example("everything")
    before = {id(values): chart.render(values) for values in (fixed, full)}

    def has_effect(path: Path) -> bool:
        values = fixed if path == ("replicas",) else full
        after = chart.render(changed(values, path, other(path, at(values, path))))
        return after != before[id(values)]

    with ThreadPoolExecutor(2) as threads:
        effects = dict(zip(KEYS, threads.map(has_effect, KEYS), strict=True))
    assert len(effects) > 45
    assert [path for path, effect in effects.items() if not effect] == []


def test_every_value_of_a_downstream_repository_changes_its_own_objects_only(chart: Chart) -> None:
    full = example("everything")
    target = full["downstream"]["public"]
    before = chart.render(full)
    names = list(SCHEMA["definitions"]["target"]["properties"])

    def changed_objects(name: str) -> set[str]:
        value = other((name,), target.get(name, full.get(name)))
        after = chart.render(changed(full, ("downstream", "public", name), value))
        assert after.keys() == before.keys()
        return {title for (kind, title), content in after.items() if content != before[kind, title]}

    with ThreadPoolExecutor(2) as threads:
        effects = dict(zip(names, threads.map(changed_objects, names), strict=True))
    workers = f"{RELEASE}-public"
    for name, effect in effects.items():
        assert workers in effect, name
        assert effect <= {workers, f"{workers}-check"}, name


def test_a_downstream_repository_is_like_the_other_workers_where_it_says_nothing(
    chart: Chart,
) -> None:
    full = example("everything")
    full["downstream"]["public"] = {
        "outputRepo": "/repo/public",
        "settings": {"BUTLER_WRITER_SOURCE_ROOT": "/repo/prompt"},
    }
    manifest = chart.render(full)
    one, two = (
        manifest["StatefulSet", name]["spec"]["template"]["spec"]
        for name in (RELEASE, f"{RELEASE}-public")
    )
    for name in ("volumes", "nodeSelector", "tolerations", "affinity", "initContainers"):
        assert one[name] == two[name]
    assert one["containers"][0]["resources"] == two["containers"][0]["resources"]
    assert manifest["StatefulSet", f"{RELEASE}-public"]["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("replica",), 2, "replica"),
        (("kafka", "topics"), "x", "topics"),
        (("kafka", "topic"), "", "topic"),
        (("outputRepo",), "", "outputRepo"),
        (("kafka", "debug"), "yes", "debug"),
        (("lanes",), 17, "lanes"),
        (("resources", "memoryLimit"), "1 GiB", "memoryLimit"),
        (("env",), [{"name": "BUTLER_WRITER_LANES", "value": "3"}], "env"),
        (("downstream",), {"public": {"outputRepo": "/repo"}}, "settings"),
        (("downstream",), {"Public": {"outputRepo": "/repo", "settings": {}}}, "Public"),
        (("ingress", "enabled"), True, "global.host"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_refused_by_its_name(
    chart: Chart, path: Path, value: object, named: str
) -> None:
    assert named in chart.try_values(changed(example("least"), path, value))


def test_the_values_that_the_document_shows_are_enough(chart: Chart) -> None:
    text = (CHECKOUT / "docs/deploy.md").read_text()
    least, downstream = (
        yaml.safe_load(block)
        for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    )
    assert ("StatefulSet", f"{RELEASE}-public") not in chart.render(least)
    assert ("StatefulSet", f"{RELEASE}-public") in chart.render(merged(least, downstream))


def test_argo_cd_may_set_further_global_values(chart: Chart) -> None:
    values = changed(example("least"), ("global", "environmentName"), "usdf")
    assert chart.render(values) == chart.render(example("least"))


def test_the_readme_of_the_chart_is_made_of_its_values_and_describes_each(
    helm_docs: pathlib.Path,
) -> None:
    made = subprocess.run(
        [helm_docs, f"--chart-search-root={CHART}", "--log-level=warning", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == (CHART / "README.md").read_text().strip(), "run: make chart"
    rows = [line.split(" | ") for line in made.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(KEYS) + 1  # with `downstream`
    assert [row[0] for row in rows if row[-1].strip(" |") == ""] == []


def test_the_chart_has_the_version_of_the_service() -> None:
    content = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert content["version"] == content["appVersion"] == project["version"]
