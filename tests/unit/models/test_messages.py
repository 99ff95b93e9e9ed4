"""What the service sends: the same bytes as the deployed service, and dead letters."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from models.batch_ingested import BatchIngested, dataset_list, dataset_list_name
from models.causes import Cause
from models.chains import ChainState, ChainUpdate, RunState, read_chain_state
from models.dead_letter import DeadLetter

BATCH = UUID("0b7f2a9e-6f0c-5c3e-8d4e-0123456789ab")
DATASET = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def test_an_announcement_has_the_same_bytes_as_the_deployed_services() -> None:
    message = BatchIngested(batch_id=str(BATCH), batch_file="list.json").encode()
    assert message == (
        b'{"type":"batch-ingested","batch_id":"0b7f2a9e-6f0c-5c3e-8d4e-0123456789ab",'
        b'"origin":"prompt_processing","batch_file":"list.json"}'
    )


def test_a_dataset_list_is_compact_json_with_the_ids() -> None:
    assert dataset_list(BATCH, [DATASET]) == (
        b'{"batch_id":"0b7f2a9e-6f0c-5c3e-8d4e-0123456789ab",'
        b'"datasets":["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]}'
    )


def test_a_dataset_list_is_named_after_time_and_batch() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert dataset_list_name(BATCH, now) == f"2026-01-02T03-04-05-000678-{BATCH}.json"


def test_a_dead_letter_can_be_read_from_its_headers() -> None:
    letter = DeadLetter.of(("pp-output", 3), 42, Cause.CONFLICT, "two\nlines\tof it")
    assert DeadLetter.from_headers(letter.headers()) == letter
    assert letter.reason == "two lines of it"
    assert letter.headers()["offset"] == b"42"


@pytest.mark.parametrize("name", ["partition", "offset", "replays"])
@pytest.mark.parametrize("number", [2**63, -1, "x"])
def test_headers_with_no_possible_number_are_no_letter(name: str, number: object) -> None:
    headers = DeadLetter.of(("pp-output", 3), 42, Cause.CONFLICT, "x").headers()
    with pytest.raises(ValueError, match=r"number|invalid literal"):
        DeadLetter.from_headers(headers | {name: str(number).encode()})


def test_the_reason_of_a_dead_letter_has_a_maximum_length() -> None:
    assert len(DeadLetter.of(("t", 0), 1, Cause.UNKNOWN, "x" * 100_000).reason) == 2000


def test_an_event_too_large_for_a_dead_letter_becomes_a_pointer() -> None:
    letter = DeadLetter.of(("pp-output", 3), 42, Cause.INVALID_EVENT, "too large")
    assert orjson.loads(letter.pointer(b"the event")) == {
        "type": "dead-letter-pointer",
        "topic": "pp-output",
        "partition": 3,
        "offset": 42,
        "bytes": 9,
        "sha256": hashlib.sha256(b"the event").hexdigest(),
    }


def update(run: str, written_at: float) -> ChainUpdate:
    return ChainUpdate(
        chain="c", run=run, datasets=10, events=2, batch_id=str(BATCH), written_at=written_at
    )


def test_a_chain_state_has_the_newest_run_first_and_adds_up_counts() -> None:
    state = ChainState(chain="c", runs=[])
    for step in (update("r1", 5.0), update("r2", 6.0), update("r1", 7.0), update("r1", 4.0)):
        state = state.updated(step)
    assert [run.run for run in state.runs] == ["r2", "r1"]
    first = state.runs[1]
    assert (first.datasets, first.events) == (30, 6)
    assert (first.first_write, first.last_write) == (4.0, 7.0)


def test_a_run_without_a_dataset_has_its_first_write_later() -> None:
    """As `chains resync` sends it: the run is a child of the chain, and was not written yet."""
    empty = RunState(run="r1", first_write=0.0, last_write=0.0, datasets=0, events=0)
    (run,) = ChainState(chain="c", runs=[empty]).updated(update("r1", 5.0)).runs
    assert (run.first_write, run.last_write) == (5.0, 5.0)


def test_a_chain_state_can_be_read_from_its_changelog_form() -> None:
    state = ChainState(chain="c", runs=[]).updated(update("r1", 5.0))
    assert ChainState.from_data(orjson.loads(state.dumps())) == state


def test_the_counts_of_a_chain_stay_such_that_its_state_can_be_read_again() -> None:
    state = ChainState(chain="c", runs=[])
    huge = ChainUpdate(
        chain="c", run="r", datasets=2**63 - 1, events=2**63 - 1, batch_id="b", written_at=1.0
    )
    for _ in range(4):
        state = state.updated(huge)
    (run,) = read_chain_state(orjson.loads(state.dumps())).runs
    assert (run.datasets, run.events) == (2**63 - 1, 2**63 - 1)
