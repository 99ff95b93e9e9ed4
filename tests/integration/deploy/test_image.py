"""The steps of the Dockerfile, by hand in a clean folder, give a service that starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.installation import own_version
from testbed.worker import CHECKOUT
from tests.support.checkouts import clone_checkout
from tests.support.dockerfile import dockerfile_stages
from tests.support.locks import pins

#: Of the base image: the bytecode of its own library, and a user.  They need a root file system.
NOT_EXECUTED = "RUN python -m compileall -q -j 0 /usr/local/lib/python3.11 "


class Image:
    """A folder that has what the image's file system would have.

    Parameters
    ----------
    root : `pathlib.Path`
        An empty folder.
    context : `pathlib.Path`
        The folder that the image is built from.
    """

    def __init__(self, root: Path, context: Path) -> None:
        self.root = root
        self._context = context
        self._folder = root
        # Python and its pip, as the base image has them.
        base = root / "usr/local"
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
        self._programs = base / "bin"

    def build(self, stage: str) -> None:
        """Do what the Dockerfile says, in this stage and those that it is made of."""
        (_, parent, *_), *instructions = dockerfile_stages()[stage]
        if parent in dockerfile_stages():
            self.build(parent)
        for words in instructions:
            match words:
                case ["WORKDIR", folder]:
                    self._folder = self.root / folder.lstrip("/")
                    self._folder.mkdir(exist_ok=True)
                case ["COPY", origin, source, target] if origin.startswith("--from="):
                    assert source == target  # there is one file system
                case ["COPY", *sources, target]:
                    self._copy(sources, target)
                case ["RUN", *_] if not " ".join(words).startswith(NOT_EXECUTED):
                    self._run(" ".join(words[1:]))

    def _copy(self, sources: list[str], target: str) -> None:
        for source in sources:
            origin = self._context / source
            if origin.is_dir():
                shutil.copytree(origin, self._folder / target)
            else:
                shutil.copy(origin, self._folder / target)

    def _run(self, script: str) -> None:
        done = subprocess.run(
            ["sh", "-c", script.replace("/opt/", f"{self.root}/opt/")],
            cwd=self._folder,
            env={"PATH": f"{self._programs}:/usr/bin:/bin", "HOME": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Start the image's program in its working folder."""
        home = self.root / "tmp"
        home.mkdir(exist_ok=True)
        programs = self.root / "opt/venv/bin"
        return subprocess.run(
            [programs / "faust", *arguments],
            cwd=self.root / "srv",
            env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_steps_of_the_image_give_a_service_that_starts_and_a_bill_of_materials(
    tmp_path: Path,
) -> None:
    image = Image(tmp_path / "image", clone_checkout(tmp_path / "context"))
    image.build("build-worker")
    image.build("worker")

    shown = image.start("--json", "-A", "app", "version")

    assert shown.returncode == 0, shown.stderr
    versions = json.loads(shown.stdout)
    assert versions["butler-writer"] == own_version()
    locked = pins(CHECKOUT / "requirements.lock")
    assert ("lsst-daf-butler", versions["lsst-daf-butler"]) in locked
    bill = json.loads((image.root / "opt/venv/share/butler-writer/sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    parts = bill["components"]
    packages = {(part["name"].lower().replace("_", "-"), part["version"]) for part in parts}
    assert ("lsst-daf-butler", versions["lsst-daf-butler"]) in packages
    assert packages <= locked
    assert len(packages) > 60
    assert [part["name"] for part in parts if not part.get("licenses")] == []
    assert bill["metadata"]["component"]["version"] == own_version()
