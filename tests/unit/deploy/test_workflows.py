"""GitHub's workflows: what can be checked without running them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.worker import CHECKOUT

WORKFLOWS = sorted((CHECKOUT / ".github/workflows").glob("*.yaml"))


def unpinned(workflow: str) -> list[str]:
    """Return the actions that a workflow uses in any other way than in one version."""
    used = re.findall(r"\buses: *(\S+)", workflow)
    return [action for action in used if not re.fullmatch(r"[\w/-]+@v\d+\.\d+\.\d+", action)]


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_there_is_a_workflow_for_each_part() -> None:
    names = {workflow.stem for workflow in WORKFLOWS}
    assert names == {"chart", "client", "docs", "image", "test"}


def test_the_workflows_match_their_schema() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [program, "--builtin-schema=vendor.github-workflows", *WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_used_in_one_version(workflow: Path) -> None:
    assert unpinned(workflow.read_text()) == []


@pytest.mark.parametrize("action", ["a/b", "a/b@main", "a/b@v5", "a/b@v5.0"])
def test_an_action_without_a_version_is_noticed(action: str) -> None:
    assert unpinned(f"- uses: {action}\n- uses: a/b@v5.0.0\n") == [action]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_change_nothing_by_default_and_ends_in_time(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 90 for job in content["jobs"].values())


@pytest.mark.parametrize("name", ["chart", "client", "image"])
def test_what_a_tag_publishes_has_the_version_of_the_tag(name: str) -> None:
    """The check comes before anything is built."""
    runs = [
        step["run"] for step in steps(CHECKOUT / f".github/workflows/{name}.yaml") if "run" in step
    ]
    assert "deploy/release.py" in runs[0]


def test_the_image_gets_its_version_and_revision() -> None:
    text = (CHECKOUT / ".github/workflows/image.yaml").read_text()
    assert '--build-arg "VERSION=$VERSION" --build-arg "REVISION=$GITHUB_SHA"' in text


def test_files_and_targets_that_the_workflows_name_exist() -> None:
    text = "\n".join(step.get("run", "") for path in WORKFLOWS for step in steps(path))
    named = set(re.findall(r"(?<!\S)(?:\./)?((?:deploy/|\.ci/|client|requirements)[\w./-]*)", text))
    assert {".ci/run", "client", "deploy/release.py", "requirements-build.lock"} <= named
    assert [name for name in named if not (CHECKOUT / name).exists()] == []
    targets = re.findall(r"^make (\S+)", text, re.MULTILINE)
    assert targets == ["site"]
    subprocess.run(["make", "-n", *targets], cwd=CHECKOUT, capture_output=True, check=True)
