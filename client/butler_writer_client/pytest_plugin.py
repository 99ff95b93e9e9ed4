"""Fixtures for a pod's unit tests; name this module in ``pytest_plugins`` to use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from butler_writer_client.testing import InProcessService

__all__ = ["butler_writer"]


@pytest.fixture
def butler_writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessService]:
    """Run the service, with a central repository, instead of a pod's writer."""
    with InProcessService(tmp_path_factory.mktemp("butler-writer")) as service:
        yield service
