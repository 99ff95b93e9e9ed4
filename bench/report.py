"""Insert the figures of all comparisons into the documents, and draw the curves.

``python -m bench.report`` does this with the last measurements.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from bench.capacity import capacity
from bench.measuring import short
from bench.plots import draw
from bench.result import FOLDER, Result, Table
from bench.throughput import tables as throughput_tables
from testbed.document import insert

__all__ = ["DOCUMENTS", "main", "report"]

#: The curves of the first one are in the folder with its name.
DOCUMENTS = [Path("docs") / f"{name}.md" for name in ("performance", "tuning", "capacity")]

_THOROUGH = re.compile(r"<!-- (\w+): begin -->\s+\*Measured by `make bench` ")


def report(results: list[Result], document: str) -> str:
    """Return a document with the tables of the comparisons that it has markers for."""
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


def _load() -> tuple[list[Result], list[Result]]:
    """Read the results to report, thorough ones where they exist, and all quick results.

    A fresh clone has the documents but no raw measurements: quick results must not replace thorough
    ones that are only in a document.
    """
    quick = [Result.load(file) for file in sorted(FOLDER.glob("quick/*.json"))]
    thorough = [Result.load(file) for file in sorted(FOLDER.glob("thorough/*.json"))]
    names = {result.name for result in thorough}
    names.update(*(_THOROUGH.findall(document.read_text()) for document in DOCUMENTS))
    return thorough + [result for result in quick if result.name not in names], quick


def _closing(quick: list[Result]) -> Result:
    """Return the figures that ``make bench-quick`` ends with."""
    table = Table(["figure", "value"])
    for result in quick:
        for name, value in result.figures.items():
            table.add(f"`{name}`", short(value))
    return Result("quick", [table], quick=True, machine=quick[0].machine)


def main() -> None:
    """Update the documents."""
    results, quick = _load()
    if quick:
        results.append(_closing(quick))
    with suppress(KeyError):  # only thorough measurements have them
        tables = capacity({result.name: result for result in results})
        results.append(Result("capacity", tables, machine=results[0].machine))
    results += [
        Result("throughput", throughput_tables(result.raw["points"]), machine=result.machine)
        for result in results
        if result.name == "scaling" and not result.quick and "points" in result.raw
    ]
    for document in DOCUMENTS:
        document.write_text(report(results, document.read_text()))
    draw(results, DOCUMENTS[0].with_suffix(""))


if __name__ == "__main__":
    main()
