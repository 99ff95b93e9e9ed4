"""What to do next when something is wrong, and which section of the runbook says how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.operations.pages.documents import FlowState, OverviewDocument
from app.operations.pages.verdict import are_many_dead_letters, is_held_back

__all__ = ["NextStep", "next_steps"]


@dataclass(frozen=True, slots=True)
class NextStep:
    """Something to do.

    Attributes
    ----------
    text : `str`
        What, in one sentence without its stop.
    section : `str`
        The section of the runbook, by its anchor.
    """

    text: str
    section: str


_FIRST_LOOK = NextStep("Take a first look at the whole service", "first-look")
_BROKERS = NextStep("Kafka is away: look at the brokers", "butlerwriterbrokersaway")
_DATABASE = NextStep("The database is away: look at PostgreSQL", "butlerwriterdatabaseaway")
_DATASTORE = NextStep("Files cannot be used: look at the datastore", "butlerwriterdatastoreaway")
_LOGIN = NextStep(
    "A login is refused: give the workers the current secrets",
    "a-password-or-certificate-was-rotated",
)
_NO_WORKER = NextStep("No worker reads events: start one", "butlerwriternoworker")
_SILENT = NextStep("A worker does not answer: look at its pod and its log", "butlerwriternoworker")
_UNREAD = NextStep(
    "A partition has no worker: look who is in the group", "butlerwriterpartitionwithoutworker"
)
_FAILING = NextStep("A step fails again and again: read its error", "butlerwriterstepfailing")
_STUCK = NextStep("Events wait and none is finished: find out why", "butlerwriterstuck")
_OPEN_TRANSACTION = NextStep(
    "A sender has left a transaction open: find out which one", "butlerwriterstuck"
)
_OVERDUE = NextStep(
    "Datasets are due and are not released: find out why", "butlerwriterdownstreamoverdue"
)
_HELD = NextStep("Datasets are held: add a rule for them", "butlerwriterdownstreamheld")
_LETTERS = NextStep(
    "Events were set aside: correct the cause, then replay them", "butlerwriterdeadletters"
)
_MANY_LETTERS = NextStep(
    "Many events are set aside: find out what has changed", "butlerwritermanydeadletters"
)

#: Words of the reason for which a worker is not ready, and what to do; the first that fits.
_REASONS = (
    ("login", _LOGIN),
    ("authentication failed", _LOGIN),
    ("the database does not answer", _DATABASE),
    ("the repository does not answer", _DATABASE),
    ("Kafka does not answer", _BROKERS),
    ("does not answer", _DATASTORE),
    ("is failing", _FAILING),
    ("has been running for", _STUCK),
)


def next_steps(shown: OverviewDocument) -> list[NextStep]:
    """Return what to do next, the most urgent first; nothing if all is well.

    Parameters
    ----------
    shown : `OverviewDocument`
        The service.
    """
    found = list(dict.fromkeys(_of_workers(shown)))
    if not found and shown.state is FlowState.STOPPED:
        found.append(_STUCK if shown.lag or not shown.waiting else _OVERDUE)
    are_many = are_many_dead_letters(shown.events_last_quarter, shown.dead_letters_last_quarter)
    if not found and len(shown.reasons) > are_many:  # they are a reason themselves
        found.append(_FIRST_LOOK)
    if are_many:
        found.append(_MANY_LETTERS)
    elif shown.dead_letters_last_hour:
        found.append(_LETTERS)
    if shown.waiting is not None and shown.waiting.held:
        found.append(_HELD)
    return found


def _of_workers(shown: OverviewDocument) -> Iterator[NextStep]:
    if shown.no_answer is not None:
        yield _BROKERS
    for worker in shown.workers:
        if worker.state is not None and worker.state.not_ready is not None:
            yield _for_reason(worker.state.not_ready)
        if worker.state is not None and is_held_back(worker.state):
            yield _OPEN_TRANSACTION
    is_known = shown.no_answer is None
    if is_known and not any(worker.is_member for worker in shown.workers):
        yield _NO_WORKER
        return
    if any(worker.no_answer is not None for worker in shown.workers):
        yield _SILENT
    if is_known and any(each.owner is None for each in shown.partitions):
        yield _UNREAD


def _for_reason(reason: str) -> NextStep:
    return next((step for words, step in _REASONS if words in reason), _FIRST_LOOK)
