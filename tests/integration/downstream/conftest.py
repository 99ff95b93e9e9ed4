"""A source, and an empty repository that is filled from it."""

from __future__ import annotations

import pytest
from lsst.daf.butler import Butler


@pytest.fixture
def target(empty: Butler) -> Butler:
    """The repository that is filled, on the same kind of database as the source."""
    return empty
