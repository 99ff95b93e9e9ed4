"""docs/releases.md says with what the version fits together."""

from __future__ import annotations

import re

from lsst.daf.butler import DimensionUniverse

from app.installation import own_version
from testbed.worker import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "releases.md"


def test_the_table_has_the_version_with_what_it_is_tested_with() -> None:
    lock = (CHECKOUT / "requirements.lock").read_text()
    (locked,) = re.findall(r"^lsst-daf-butler==(\S+)", lock, re.MULTILINE)
    universe = DimensionUniverse()
    rows = re.findall(
        r"^\| ([\d.]+) \| (.+) \| (.+) \| (.+) \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    version = own_version()
    assert (version, locked, f"{universe.namespace} {universe.version}", version) in rows
