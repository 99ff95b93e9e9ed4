"""The worker's status, for its pages and for probes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from app.butler.descriptions import describe_with_type
from app.downstream.waiting import Waiting
from app.telemetry.labels import Needed
from app.telemetry.pauses import Pauses
from app.telemetry.recent.activity import Activity
from app.telemetry.recent.flushes import RecentFlushes
from app.telemetry.step_failures import StepFailures
from app.telemetry.step_times import StepTimes

__all__ = ["LOGIN_PATIENCE", "Problem", "Status"]

logger = structlog.get_logger("butler_writer")

#: Seconds for which a login may be refused before the process ends, to be started with the current
#: secrets (rule stuck-workers-end).
LOGIN_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Problem:
    """A step that failed."""

    step: str
    error: str
    at: float
    """Seconds since the Unix epoch."""


@dataclass(slots=True)
class Status:
    """The worker's status.

    Attributes
    ----------
    started_at : `float`
        Seconds since the Unix epoch.
    unassigned_since : `float` or `None`
        When the last rebalance began, in seconds of the monotonic clock; `None` once it is over.
    retrying : `dict` [`tuple` [`str`, `int`], `Problem`]
        The steps that are being retried now, each with its lane.
    resets : `list` [`str`]
        The partitions whose log was reset, until they are read again.
    last_error : `Problem` or `None`
        The last step that failed, even if it succeeded later.
    last_flush : `dict`
        The last window that was written, announced and acked.
    recent : `RecentFlushes`
        The last flushes.
    activity : `Activity`
        How much was written lately.
    unavailable : `dict` [`str`, `str`]
        What cannot be used, and why; the worker may be idle.
    step_times : `StepTimes`
        How long the running steps have been running.
    step_failures : `StepFailures`
        How long the failing steps have been failing.
    pauses : `Pauses`
        The waits between two attempts of a step.
    keeps_chains : `bool`
        Whether this worker keeps the table of chains, and has read it.
    waiting : `Waiting` or `None`
        What waits to be released to a downstream repository, if the worker fills one and knows it.
    cannot_read : `str` or `None`
        Why it cannot be looked up where reading starts; `None` once it is known.
    kept_out : `str` or `None`
        Who keeps the worker out of its consumer group, if anybody does.
    stopping : `bool`
        Whether the worker was asked to stop: it takes no more events.
    """

    started_at: float = field(default_factory=time.time)
    unassigned_since: float | None = field(default_factory=time.monotonic)
    retrying: dict[tuple[str, int], Problem] = field(default_factory=dict)
    resets: list[str] = field(default_factory=list)
    last_error: Problem | None = None
    last_flush: dict[str, Any] = field(default_factory=dict)
    recent: RecentFlushes = field(default_factory=RecentFlushes)
    activity: Activity = field(default_factory=Activity)
    unavailable: dict[str, str] = field(default_factory=dict)
    step_times: StepTimes = field(default_factory=StepTimes)
    step_failures: StepFailures = field(default_factory=StepFailures)
    pauses: Pauses = field(default_factory=Pauses)
    waiting: Waiting | None = None
    keeps_chains: bool = False
    cannot_read: str | None = None
    kept_out: str | None = None
    stopping: bool = False
    _away: dict[str, Needed] = field(default_factory=dict)
    _refused_logins: dict[str, tuple[str, float]] = field(default_factory=dict)
    _failing_since: tuple[str, float] | None = None
    _was_ready: bool = False

    def revoked(self) -> None:
        """Note that a rebalance has begun."""
        self.unassigned_since = time.monotonic()
        self.cannot_read = None
        self._failing_since = None

    def assigned(self) -> None:
        """Note that the rebalance is over (a spare worker may have no partition)."""
        self.unassigned_since = None

    def logs_reset(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Note partitions whose log went back behind what was read or committed."""
        self.resets = sorted({*self.resets, *(f"{topic}-{n}" for topic, n in partitions)})

    def reading(self) -> None:
        """Note that all partitions are read from offsets that the log holds."""
        self.resets = []
        self.cannot_read = None

    def cannot_start_reading(self, error: BaseException) -> None:
        """Note that the offsets at which reading starts cannot be looked up now."""
        self.cannot_read = f"cannot look up where to start reading: {describe_with_type(error)}"

    def failed(self, step: str, lane: int, error: BaseException) -> None:
        """Note a step that failed in a lane and will be retried."""
        self.last_error = Problem(step, describe_with_type(error), time.time())
        self.retrying[step, lane] = self.last_error
        self.step_failures.failed(step, lane, error)

    def ended(self, step: str, lane: int) -> None:
        """Note that a step has ended: it succeeded, or its window was abandoned."""
        self.retrying.pop((step, lane), None)
        self.step_failures.ended(step, lane)

    def cannot_use(self, name: str, reason: str, *, key: str | None = None) -> None:
        """Note that something cannot be used.

        Parameters
        ----------
        name : `str`
            What it is, such as ``the database``.
        reason : `str`
            Why it cannot be used.
        key : `str`, optional
            Identifies it, if several have the same name.
        """
        self.unavailable[key or name] = reason
        self._away[key or name] = Needed.named(name)

    def can_use(self, key: str) -> None:
        """Note that something can be used, or need no longer be asked."""
        self.unavailable.pop(key, None)
        self._away.pop(key, None)

    def is_up(self, needed: Needed) -> bool:
        """Return whether something that the worker needs answers, as far as is known."""
        if needed is Needed.DATASTORE and self.step_failures.is_store_away:
            return False
        return needed not in self._away.values()

    def note_login(self, user: str, refusal: str | None) -> None:
        """Note that a login was refused, or was not.

        Parameters
        ----------
        user : `str`
            What logs in: a step, or what watches a dependency.
        refusal : `str` or `None`
            Which login was refused, and why; `None` if it was not.
        """
        if refusal is None:
            self._refused_logins.pop(user, None)
        else:
            _, since = self._refused_logins.get(user, (refusal, time.monotonic()))
            self._refused_logins[user] = refusal, since

    def login_refused_for_long(self) -> str | None:
        """Return which login has been refused for longer than `LOGIN_PATIENCE`, if any."""
        now = time.monotonic()
        for refusal, since in self._refused_logins.values():
            if now - since > LOGIN_PATIENCE:
                return refusal
        return None

    def postponed(self, reason: str) -> None:
        """Note events that cannot be written now, and wait apart from others."""
        if self._failing_since is None:
            self._failing_since = reason, time.monotonic()

    def flushed(self, **facts: Any) -> None:
        """Note a window that is written, announced and acked."""
        self.last_flush = {"at": time.time(), **facts}
        self._failing_since = None

    @property
    def not_ready(self) -> str | None:
        """Why the worker is not ready, or `None` if it is.

        What is away or refused comes first: it is the cause of what follows.
        """
        causes = [*self.unavailable.values(), *filter(None, [self.cannot_read])]
        if self.unassigned_since is not None:
            return _joined(causes) or self.kept_out or "waiting for partitions to be assigned"
        if self.resets:
            return _joined([*causes, f"the log was reset, reading again: {', '.join(self.resets)}"])
        effects = [
            f"{problem.step} is failing: {problem.error}" for problem in self.retrying.values()
        ]
        effects += [
            f"{step} has been running for {seconds:.0f} s"
            for step, seconds in self.step_times.slow.items()
        ]
        effects += self._failing()
        said = _joined([*causes, *effects])
        refused = [refusal for refusal, _ in self._refused_logins.values() if refusal not in said]
        return _joined([*refused, *causes, *effects]) or None

    def _failing(self) -> list[str]:
        """Return why no event was finished for long, if events wait that cannot be written."""
        if self._failing_since is None:
            return []
        reason, since = self._failing_since
        seconds = time.monotonic() - since
        is_long = seconds > self.step_times.warning_seconds
        return [f"no event was finished for {seconds:.0f} s: {reason}"] if is_long else []

    def log_readiness(self) -> None:
        """Log that the worker has become ready, or that it is no longer ready."""
        reason = self.not_ready
        if (reason is None) is self._was_ready:
            return
        self._was_ready = reason is None
        if reason is None:
            logger.info("ready", seconds=round(time.time() - self.started_at, 1))
        else:
            logger.info("not ready", reason=reason)

    def as_json(self) -> dict[str, Any]:
        """Return the status as plain values."""
        return {
            "started_at": self.started_at,
            "not_ready": self.not_ready,
            "last_flush": self.last_flush or None,
            "last_error": asdict(self.last_error) if self.last_error else None,
        }


def _joined(reasons: Iterable[str]) -> str:
    """Return reasons as one text, each once: several lanes may have the same one."""
    return "; ".join(dict.fromkeys(reason.removesuffix(".") for reason in reasons))
