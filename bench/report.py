"""Put the figures of all comparisons into the documents, and draw their curves.

``python -m bench.report docs/performance.md ...``
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.plots import draw
from bench.result import FOLDER, Result
from tests.parts.document import insert

__all__ = ["main", "report"]


def report(results: list[Result], document: str) -> str:
    """Return a document with the tables of those comparisons that it has markers for."""
    for result in results:
        if f"<!-- {result.name}: begin -->" in document:
            tables = "\n\n".join(table.markdown for table in result.tables)
            document = insert(document, result.name, f"\n{_origin(result)}\n\n{tables}\n")
    return document


def _origin(result: Result) -> str:
    machine = dict(result.machine)
    at = machine.pop("at")
    kind = "`make bench-quick`" if result.quick else "`make bench`"
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    return f"*Measured by {kind} at {at}: {facts}.*"


def main(documents: list[Path]) -> None:
    """Bring documents up to date."""
    results = [Result.load(file) for file in sorted(FOLDER.glob("*.json"))]
    for document in documents:
        document.write_text(report(results, document.read_text()))
    draw(results, documents[0].with_suffix(""))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
