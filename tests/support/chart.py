"""The Helm chart, as tests render it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.worker import CHECKOUT

__all__ = ["CHART", "EXAMPLES", "RELEASE", "Chart", "Manifest", "environment_of", "pods_of"]

CHART = CHECKOUT / "deploy/helm/butler-writer"

#: The files of values in ``ci/``, by their names.
EXAMPLES = {path.name.removesuffix("-values.yaml"): path for path in CHART.glob("ci/*-values.yaml")}

#: The name that the deployed service's release has.
RELEASE = "butler-writer-service"

Object = dict[str, Any]


class Manifest(dict[tuple[str, str], Object]):
    """The objects that a chart makes, by kind and name."""

    def of_kind(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        return [content for (each, _), content in self.items() if each == kind]


@dataclass(frozen=True)
class Chart:
    """The chart, and the program that renders it.

    Attributes
    ----------
    helm : `pathlib.Path`
        The program.
    folder : `pathlib.Path`
        The chart's folder, or its package.
    """

    helm: Path
    folder: Path = CHART

    def run(self, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run Helm with a text on its standard input."""
        return subprocess.run(
            [self.helm, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def try_values(self, values: Mapping[str, Any]) -> str:
        """Return why Helm refuses values; empty: it does not."""
        done = self.run(
            "template", RELEASE, self.folder, "--values=-", text=yaml.dump(dict(values))
        )
        return done.stderr if done.returncode else ""

    def render(self, values: Mapping[str, Any], release: str = RELEASE) -> Manifest:
        """Return what the chart makes of values.

        Raises
        ------
        AssertionError
            If Helm refuses them, or two objects have one kind and name.
        """
        done = self.run(
            "template", release, self.folder, "--values=-", text=yaml.dump(dict(values))
        )
        assert done.returncode == 0, done.stderr
        found = [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]
        manifest = Manifest({(each["kind"], each["metadata"]["name"]): each for each in found})
        assert len(manifest) == len(found)
        return manifest


def pods_of(manifest: Manifest) -> Iterator[Object]:
    """Return what all pods are made from: those of workers, and those of the checks."""
    yield from (each["spec"]["template"] for each in manifest.of_kind("StatefulSet"))
    yield from manifest.of_kind("Pod")


def environment_of(pod: Object) -> dict[str, str]:
    """Return a pod's variables, with texts for what Kubernetes would insert."""
    (container,) = pod["spec"]["containers"]
    variables = container["env"]
    assert len({each["name"] for each in variables}) == len(variables)
    return {each["name"]: each.get("value") or _inserted(each) for each in variables}


def _inserted(variable: Object) -> str:
    match variable:
        case {"valueFrom": {"secretKeyRef": {"name": _, "key": _}}}:
            return "secret"
        case {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}:
            return "10.1.2.3"
    return str(variable["value"])
