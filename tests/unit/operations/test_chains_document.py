"""The chains that a worker keeps: however many there are, a list is short and quickly made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app.operations.pages import asking
from app.operations.pages.asking import NoAnswer
from app.operations.pages.chains import (
    LISTED,
    ChainDocument,
    KeptChains,
    combined_chain,
    combined_chains,
    kept_chain,
    kept_chains,
)
from app.tables import chains as table
from app.web.rendering import render
from models.chains import ChainState, RunState


@pytest.fixture(autouse=True)
def _empty_table() -> Iterator[None]:
    yield
    table.data.clear()


def chain(name: str, last_write: float, runs: int = 1, length: int = 0, filler: str = "x") -> None:
    """Put a chain into the table."""
    table.data[name] = ChainState(
        chain=name,
        runs=[
            RunState(
                run=f"{name}/{number}".ljust(length, filler),
                first_write=last_write - number,
                last_write=last_write - number,
                datasets=10,
                events=1,
            )
            for number in range(runs)
        ],
    )


def test_a_list_has_the_newest_of_very_many_chains() -> None:
    for number in range(5000):
        chain(f"chain-{number}", 1000.0 + number, runs=30)
    started = time.process_time()
    found = kept_chains(is_known=True)
    seconds = time.process_time() - started
    assert found.total == 5000
    assert [each.chain for each in found.chains] == [
        f"chain-{number}" for number in range(4999, 4999 - LISTED, -1)
    ]
    first = found.chains[0]
    assert (first.run_count, len(first.runs), first.datasets) == (30, 20, 300)
    assert len(orjson.dumps(found)) < asking._LONGEST
    assert seconds < 2.0  # it holds up the event loop; usually about 0.1 s


@pytest.mark.parametrize("filler", ["x", "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL A}", '"', "\x01"])
@pytest.mark.parametrize(("chains", "length"), [(100, 20_000), (1000, 200)])
def test_a_list_stays_short_whatever_the_names_are(chains: int, length: int, filler: str) -> None:
    for number in range(chains):
        chain(f"{number}", 1.0, runs=20, length=length, filler=filler)
    found = kept_chains(is_known=True)
    assert found.total == chains
    assert found.chains
    assert len(orjson.dumps(found)) < asking._LONGEST


def test_one_chain_has_its_runs_in_order_up_to_a_bound() -> None:
    chain("a/b", 10_000.0, runs=3000)
    found = kept_chain("a/b")
    assert found is not None
    assert (found.run_count, found.datasets, found.first_write) == (3000, 30_000, 7001.0)
    assert [run.run for run in found.runs] == [f"a/b/{number}" for number in range(1000)]
    assert kept_chain("a") is None


@pytest.mark.parametrize(
    "runs",
    [5, None, [5], [{"run": "r", "last_write": None}], [{"run": "r", "last_write": "soon"}]],
    ids=str,
)
def test_a_bad_state_does_not_hide_the_other_chains(runs: Any) -> None:
    chain("good", 5.0)
    table.data["bad"] = ChainState.from_data({"chain": "bad", "runs": runs})
    assert [each.chain for each in kept_chains(is_known=True).chains] == ["good"]
    assert kept_chain("bad") is None


def test_counts_that_are_too_large_for_json_do_not_hide_the_chains() -> None:
    chain("good", 5.0)
    chain("huge", 6.0, runs=5)
    for run in table.data["huge"].runs:
        run.datasets = run.events = 2**63 - 1
    found = orjson.loads(orjson.dumps(kept_chains(is_known=True)))
    assert [each["chain"] for each in found["chains"]] == ["huge", "good"]
    assert found["chains"][0]["datasets"] == 2**63 - 1


def test_the_table_that_was_written_last_counts_while_it_changes_hands() -> None:
    chain("c", 1.0)
    old = kept_chains(is_known=True)
    chain("c", 2.0)
    chain("d", 1.5)
    new = kept_chains(is_known=True)
    for first, second in ((old, new), (new, old)):
        answers: dict[str, KeptChains | NoAnswer] = {"a": first, "b": second}
        found = combined_chains({**answers, "s": NoAnswer("away")})
        assert [(each.chain, each.last_write) for each in found.chains] == [("c", 2.0), ("d", 1.5)]
        assert found.total == 2
        assert found.not_answering == ["s"]


AWAY = NoAnswer("It is away.")


@pytest.mark.parametrize(
    ("answers", "is_known"),
    [([True], True), ([False], False), ([False, AWAY], False), ([True, False, AWAY], True)],
    ids=["kept", "not read yet", "perhaps kept by the silent one", "kept by another one"],
)
def test_only_who_has_read_the_table_knows_that_it_is_empty(
    answers: list[bool | NoAnswer], is_known: bool
) -> None:
    given = [a if isinstance(a, NoAnswer) else kept_chains(is_known=a) for a in answers]
    found = combined_chains({str(number): each for number, each in enumerate(given)})
    assert found.is_known is is_known
    html = render("chains", shown=found, page="chains")
    assert ("The table has no chain yet." in html) is is_known
    assert ("chains may be missing" in html or "chains are missing" in html) is not is_known
    silent: dict[str, ChainDocument | NoAnswer | None] = {
        str(number): each if isinstance(each, NoAnswer) else None
        for number, each in enumerate(given)
    }
    assert (combined_chain(silent, is_known=is_known) is None) is is_known
