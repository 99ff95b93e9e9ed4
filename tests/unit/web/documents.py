"""Documents to render, whose texts a test chooses."""

from __future__ import annotations

from typing import Any

from app.operations.pages.about_document import about_document
from app.operations.pages.chains import ChainDocument, ChainsDocument, RunDocument
from app.operations.pages.documents import (
    FlowState,
    LastError,
    OpenWindow,
    OverviewDocument,
    PartitionDocument,
    WaitingFigures,
    WindowDocument,
    WindowsDocument,
    WorkerDocument,
    WorkerFlush,
    WorkersDocument,
    WorkerState,
)
from app.operations.pages.letters.documents import (
    LetterDetailDocument,
    LetterDocument,
    LettersDocument,
)
from app.operations.pages.settings_document import SettingDocument, SettingsDocument
from app.operations.pages.waiting import ReleaseDocument, WaitingDocument, WaitingHour
from app.telemetry.recent.activity import Minute, Totals
from app.telemetry.recent.flushes import EventResult, FlushedEvent, FlushResult

__all__ = ["NOW", "every_page", "overview", "worker"]

NOW = 1795745528.0


def worker(text: str = "none", **fields: Any) -> WorkerDocument:
    """Return a worker all of whose texts are the given one."""
    state = WorkerState(
        version=text,
        started_at=NOW - 100,
        not_ready=text,
        last_error=LastError(text, text, NOW - 10),
        memory_bytes=200 * 2**20,
        open_window=OpenWindow(3, 300),
        totals=Totals(1, 2, 3, 3, 0, 0),
        last_minute=Minute(60, 120, 1200, {50: 120}),
        oldest_pending={"t-0": NOW - 5},
    )
    given: dict[str, Any] = {
        "pages": "http://pod-1:6066",
        "host": "10.0.0.1",
        "is_member": True,
        "partitions": [0],
        "no_answer": None,
        "state": state,
    }
    return WorkerDocument(**given | fields)


def overview(text: str = "none", **fields: Any) -> OverviewDocument:
    """Return an overview all of whose texts are the given one."""
    partition = PartitionDocument(
        partition=0, owner=text, committed=1, end=3, lag=2, oldest_pending=NOW - 5
    )
    given: dict[str, Any] = {
        "at": NOW,
        "state": FlowState.IMPAIRED,
        "reasons": [text],
        "topic": text,
        "group": text,
        "group_state": text,
        "no_answer": text,
        "events_per_second": 2.0,
        "datasets_per_second": 20.0,
        "latency_p50": 0.5,
        "latency_p99": 1.5,
        "lag": 2,
        "oldest_pending": NOW - 5,
        "bytes_held": 100,
        "max_bytes_held": 1000,
        "open_window_events": 3,
        "events_in_windows": 3,
        "windows_in_flight": 0,
        "postponed_events": 1,
        "events_last_quarter": 200,
        "dead_letters_last_quarter": 1,
        "dead_letters_last_hour": 1,
        "totals": Totals(1, 2, 3, 3, 0, 1),
        "waiting": WaitingFigures(5, 1, NOW + 60),
        "partitions": [partition],
        "workers": [worker(text), worker(text, pages=text), silent(text)],
    }
    return OverviewDocument(**given | fields)


def silent(text: str) -> WorkerDocument:
    """Return a worker that does not answer."""
    return worker(text, pages=None, host=text, partitions=[], no_answer=text, state=None)


def flush(text: str) -> WorkerFlush:
    """Return a flush."""
    return WorkerFlush(
        worker=text,
        batch_id=text,
        started_at=NOW,
        lane=0,
        result=FlushResult.WRITTEN,
        events=2,
        datasets=10,
        inserted=10,
        already_there=0,
        dead_letters=1,
        postponed=1,
        bytes=1000,
        seconds=0.5,
        step_seconds={"read": 0.1, "write": 0.4},
        max_latency=None,
    )


def waiting(text: str) -> WaitingDocument:
    """Return what waits, of types all of whose names are the given one."""
    return WaitingDocument(
        at=NOW,
        not_answering=[text],
        messages=2,
        datasets=5,
        held_datasets=1,
        next_due=NOW + 60,
        hours=[WaitingHour(begin=NOW, datasets={text: 5})],
        held={text: 1},
        without_rule={text: 7},
        releases=[ReleaseDocument(at=NOW, batch_id=text, datasets=9)],
    )


def every_page(text: str) -> dict[str, tuple[object, dict[str, Any]]]:
    """Return what each template shows, with the options of its page."""
    events = [
        FlushedEvent(text, 0, 1, 10, EventResult.WRITTEN, 10, (text, text)),
        FlushedEvent(text, 0, 2, 10, EventResult.SET_ASIDE, 0, (), text, text),
    ]
    setting = SettingDocument(
        section=text, variable=text, value=text, is_default=False, meaning=text
    )
    workers = WorkersDocument(
        at=NOW,
        group=text,
        group_state=text,
        no_answer=text,
        workers=overview(text).workers,
    )
    windows = WindowsDocument(at=NOW, not_answering=[text], flushes=[flush(text)])
    letter = LetterDocument(
        id=text, message=text, cause=text, reason=text, set_aside=text, replays=1, bytes=10
    )
    letters = LettersDocument(
        at=NOW,
        topic=text,
        no_answer=text,
        total=2,
        counted=1,
        counted_since=text,
        causes={text: 1},
        letters=[letter],
    )
    detail = LetterDetailDocument(letter=letter, payload=text, is_cut=True, replay=text)
    run = RunDocument(run=text, first_write=0.0, last_write=NOW, datasets=1, events=1)
    chain = ChainDocument(
        chain=text,
        first_write=NOW,
        last_write=NOW,
        datasets=1,
        events=1,
        run_count=2,
        runs=[run],
    )
    chains = ChainsDocument(at=NOW, not_answering=[text], is_known=False, total=2, chains=[chain])
    return {
        "chains": (chains, {"page": "chains"}),
        "chain": (chain, {"page": "chains", "depth": 1}),
        "letters": (letters, {"page": "dead-letters"}),
        "letter": (detail, {"page": "dead-letters", "depth": 1}),
        "overview": (overview(text), {"page": ""}),
        "windows": (windows, {"page": "windows"}),
        "window": (
            WindowDocument(flush=flush(text), events=events),
            {"page": "windows", "depth": 1},
        ),
        "waiting": (waiting(text), {"page": "waiting", "is_downstream": True}),
        "workers": (workers, {"page": "workers"}),
        "settings": (SettingsDocument(worker=text, settings=[setting]), {"page": "settings"}),
        "about": (about_document(text), {"page": "about"}),
    }
