"""The chart, and what it makes of the files of values in its folder ``ci/``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.chart import EXAMPLES, Chart, Manifest


@pytest.fixture(scope="session")
def chart(helm: Path) -> Chart:
    """The chart."""
    return Chart(helm)


@pytest.fixture(scope="session")
def manifests(chart: Chart) -> dict[str, Manifest]:
    """What the chart makes of each file, by its name."""
    return {name: chart.render(yaml.safe_load(path.read_text())) for name, path in EXAMPLES.items()}
