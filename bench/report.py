"""Insert what was measured into the documents, and draw the curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.capacity import capacity
from bench.measuring import short
from bench.plots import draw
from bench.result import Result, Table
from bench.throughput import tables as throughput_tables
from testbed.document import insert

__all__ = ["DOCUMENTS", "closing", "report", "update_documents"]

#: The curves of the first one are in the folder with its name.
DOCUMENTS = [Path("docs") / f"{name}.md" for name in ("performance", "tuning", "capacity")]

_THOROUGH = re.compile(r"<!-- (\w+): begin -->\s+\*Measured by `make bench` ")


def report(results: Sequence[Result], document: str) -> str:
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


def closing(quick: Sequence[Result]) -> Result:
    """Return the figures that ``make bench-quick`` ends with, as a section of their own."""
    table = Table(["figure", "value"])
    for result in quick:
        for name, value in result.figures.items():
            table.add(f"`{name}`", short(value))
    return Result("quick", [table], quick=True, machine=quick[0].machine)


def update_documents(measured: Sequence[Result]) -> None:
    """Update the sections of what was measured, and of what is calculated from it.

    Quick figures do not replace thorough ones.

    Parameters
    ----------
    measured : `~collections.abc.Sequence` [`Result`]
        What was measured now; other sections keep the figures that they have.
    """
    texts = {document: document.read_text() for document in DOCUMENTS}
    kept = {name for text in texts.values() for name in _THOROUGH.findall(text)}
    results = [result for result in measured if not (result.quick and result.name in kept)]
    with suppress(KeyError):  # only thorough measurements have them
        tables = capacity({result.name: result for result in results})
        results.append(Result("capacity", tables, machine=results[0].machine))
    results += [
        Result("throughput", throughput_tables(result.raw["points"]), machine=result.machine)
        for result in results
        if result.name == "scaling" and not result.quick and "points" in result.raw
    ]
    for document, text in texts.items():
        document.write_text(report(results, text))
    draw(results, DOCUMENTS[0].with_suffix(""))
