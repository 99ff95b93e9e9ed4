"""A window is decoded one event at a time, since a decoded event takes much memory."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

from lsst.daf.butler import DatasetType
from structlog.testing import capture_logs

from agents.decoded_events import DecodedEvents
from app.intake.ledger import Entry
from app.intake.received import Received
from app.intake.windows import Arrival
from models.fields import EventContent
from testbed.writing import write_window
from tests.support.events import Night, dataset_ids, encode
from tests.support.faulty_writes import impossible_type
from tests.support.repositories import Repository, decoded, written


class Counted(DecodedEvents):
    """Counts how many decoded events there are at the same time."""

    alive = most = 0

    def __getitem__(self, arrival: Arrival[Received]) -> EventContent:
        gc.collect()  # an error and its traceback refer to each other, and to the event
        event = super().__getitem__(arrival)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(event, self._ended)
        return event

    def _ended(self) -> None:
        self.alive -= 1


def window_of(values: list[bytes]) -> Counted:
    arrivals = [
        Arrival(Entry(("pp-output", 0), offset, len(value), 1, list), Received(None, value))
        for offset, value in enumerate(values)
    ]
    return Counted(arrivals, max_bytes=10**6)


def test_decoded_events_are_not_kept(sqlite_repository: Repository) -> None:
    night = Night(sqlite_repository.root)
    events = [night.event(detector=detector) for detector in range(10)]
    window = window_of([*map(encode, events), b"no JSON"])
    writer = sqlite_repository.writer()
    prepared = writer.prepare(window, is_current=lambda: True)
    assert window.most <= 2  # the next one is decoded before the last one is let go
    gc.collect()  # the error of the last one refers to its traceback, and that to the event before
    assert window.alive == 0
    assert [arrival.entry.offset for arrival in window.rejected] == [10]
    writer.commit(prepared, is_current=lambda: True)
    assert sqlite_repository.stored() == Counter(dataset_ids(*events))


def test_decoded_events_that_fail_are_not_kept(sqlite_repository: Repository) -> None:
    """They are parsed again, to find out whether they are at fault."""
    night = Night(sqlite_repository.root)
    window = window_of([encode(impossible_type(night, visit)) for visit in range(1, 9)])
    with capture_logs():  # pytest keeps log records, which keep the errors
        sqlite_repository.writer().prepare(window, is_current=lambda: True)
    assert window.most <= 3  # one is in the traceback of the latest error


def test_an_event_may_use_a_dataset_type_that_a_later_one_brings(
    sqlite_repository: Repository,
) -> None:
    night = Night(sqlite_repository.root)
    kind = DatasetType("new", ["visit", "detector"], "Packages", universe=night.universe)
    types = [kind.to_simple().model_dump()]
    first, second = (night.event(detector=n, dataset_types=types) for n in range(2))
    del first["dataset_types"]
    report = write_window(sqlite_repository.writer(), decoded(first, second))
    assert set(written(report).dataset_ids) == dataset_ids(first)
    assert set(written(report, 1).dataset_ids) == dataset_ids(second)
