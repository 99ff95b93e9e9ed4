"""The result of a comparison, saved as JSON; documents and plots are generated from it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.availability import ServerUnavailableError
from testbed.kafka_jars import KAFKA_VERSION
from testbed.postgresql import find_postgresql

__all__ = ["FOLDER", "Result", "Table", "describe_machine"]

#: Folder of the raw measurements.
FOLDER = Path("build/bench")

_PACKAGES = ("lsst-daf-butler", "faust-streaming", "psycopg", "sqlalchemy", "orjson")


def describe_machine() -> dict[str, str]:
    """Return the machine and the versions with which this process measures."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "PostgreSQL": _postgresql(),
        "Apache Kafka": KAFKA_VERSION,
        "Python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _postgresql() -> str:
    try:
        program = find_postgresql() / "postgres"
    except ServerUnavailableError:
        return "none"
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.split()[2]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


@dataclass
class Table:
    """A table for the documents.

    Attributes
    ----------
    columns : `list` [`str`]
        Column headings.
    rows : `list` [`list` [`str`]]
        Cells.
    """

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row."""
        self.rows.append([str(cell) for cell in cells])

    @property
    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass
class Result:
    """The result of a comparison.

    Attributes
    ----------
    name : `str`
        Name of the comparison.
    tables : `list` [`Table`]
        Tables for the documents.
    figures : `dict` [`str`, `float`]
        Figures that ``make bench-quick`` ends with.
    raw : `dict` [`str`, `~typing.Any`]
        Each measurement.
    quick : `bool`
        Whether it is from a quick run.
    machine : `dict` [`str`, `str`]
        Where, when and with which versions it was measured.
    """

    name: str
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    machine: dict[str, str] = field(default_factory=describe_machine)

    def save(self) -> Path:
        """Save it to its file; quick and thorough results have different files."""
        file = FOLDER / ("quick" if self.quick else "thorough") / f"{self.name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")
        return file
