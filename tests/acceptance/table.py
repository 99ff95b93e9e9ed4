"""Inserts the scenarios' figures into a document, between its two markers.

``python -m tests.acceptance.table <figures> <document>``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from testbed.document import insert

#: The heading of each column, by the name of its figure.
COLUMNS = {
    "sent": "sent",
    "written": "written",
    "dead": "dead-lettered",
    "redelivered": "redelivered, already written",
    "kills": "kills",
    "lost": "lost",
    "twice": "twice",
    "peak_rss": "peak RSS, MiB",
    "seconds": "seconds",
}


def table_of(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        f"| scenario | {' | '.join(COLUMNS.values())} |",
        f"|---|{'---:|' * len(COLUMNS)}",
        *(
            f"| {name} | {' | '.join(str(row[column]) for column in COLUMNS)} |"
            for name, row in sorted(figures.items())
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    figures, document = map(Path, sys.argv[1:])
    table = table_of(json.loads(figures.read_text()))
    document.write_text(insert(document.read_text(), "scenarios", table))
