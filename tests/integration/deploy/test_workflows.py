"""GitHub's workflows pass their linter."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed.worker import CHECKOUT


def lint(actionlint: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [actionlint, "-no-color", *sorted(folder.glob("*.yaml"))],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_workflows_pass_their_linter(actionlint: Path) -> None:
    done = lint(actionlint, CHECKOUT / ".github/workflows")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workflow_with_a_mistake_does_not(actionlint: Path, tmp_path: Path) -> None:
    """The linter can fail: a step that does not exist."""
    image = (CHECKOUT / ".github/workflows/image.yaml").read_text()
    assert "steps.release.outputs" in image
    (tmp_path / "image.yaml").write_text(image.replace("id: release", "id: other"))
    done = lint(actionlint, tmp_path)
    assert done.returncode == 1
    assert 'property "release" is not defined' in done.stdout
