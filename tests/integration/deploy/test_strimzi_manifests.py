"""Strimzi's own classes read deploy/strimzi, and refuse what they do not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.availability import ServerUnavailableError
from testbed.strimzi_classes import find_strimzi, problems_of_manifests
from tests.support.strimzi import DEPLOYED, MANIFESTS, trial

#: A change of a manifest, and what is said of it.
WRONG = {
    "a key": ("partitions: 6", "partition: 6", 'Unrecognized field "partition"'),
    "a number": ("partitions: 6", "partitions: six", "not a valid `java.lang.Integer`"),
    "a key that is there twice": ("replicas: 3", "replicas: 3\n  replicas: 2", "Duplicate field"),
    "an operation": ("[Write]", "[Writes]", "not kept: /spec/authorization/acls/0/operations/0"),
    "a resource": ("{type: topic,", "{type: queue,", "Could not resolve type id 'queue'"),
    "a version": ("strimzi.io/v1", "strimzi.io/v2", "another version: kafka.strimzi.io/v2"),
    "a pattern": ("name: butler-writer}", "name: a, patternType: any}", "patternType"),
    "a login": ("scram-sha-512", "scram-sha-1", "Could not resolve type id 'scram-sha-1'"),
}


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is wrong with each file, by its name; Java is started once."""
    try:
        find_strimzi()
    except ServerUnavailableError as reason:
        pytest.skip(f"every test that needs Strimzi's classes ({reason})")
    folder = tmp_path_factory.mktemp("manifests")
    topic, *_ = (MANIFESTS / "topics.yaml").read_text().split("---\n")
    _, pods, _ = (MANIFESTS / "users.yaml").read_text().split("---\n")
    for name, (good, bad, _) in WRONG.items():
        text = topic if good in topic else pods
        assert good in text
        (folder / name).write_text(text.replace(good, bad))
    (folder / "deployed").write_text(DEPLOYED)
    (folder / "trial").write_text(yaml.safe_dump(trial()))
    own = [MANIFESTS / name for name in ("topics.yaml", "users.yaml", "downstream.yaml")]
    found: dict[str, list[str]] = {}
    for place, problem in problems_of_manifests([*own, *folder.iterdir()]).items():
        found.setdefault(Path(place.rpartition(":")[0]).name, []).append(problem)
    return found


def test_the_manifests_are_accepted(problems: dict[str, list[str]]) -> None:
    assert problems["topics.yaml"] == [""] * 6
    assert problems["users.yaml"] == [""] * 3
    assert problems["downstream.yaml"] == [""] * 5
    assert problems["deployed"] == problems["trial"] == [""]


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_refused(problems: dict[str, list[str]], name: str) -> None:
    (problem,) = problems[name]
    assert WRONG[name][2] in problem
