"""Waits, while a worker starts, for what it depends on; its pages answer meanwhile.

A worker that ended instead would be started again by Kubernetes after a wait that grows to five
minutes, however soon the dependency is back.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import structlog
from faust.app import BootStrategy
from mode import Service
from mode.types import ServiceT

from app.errors import OperatorError, UnavailableError
from app.printable import printable
from app.telemetry.status import Status

__all__ = ["Dependency", "PagesFirst", "Startup", "wait_for_all"]

logger = structlog.get_logger("butler_writer")

#: Seconds between two attempts.
RETRY_SECONDS = 1.0

#: Seconds without an answer after which the wait is reported; the attempt continues.
ANSWER_SECONDS = 5.0

#: Seconds between two log lines about the same dependency, if the reason has changed or has not.
_CHANGED_SECONDS = 10.0
_UNCHANGED_SECONDS = 300.0

#: Seconds that the other checks get to end once one has failed, to name all that is wrong.
_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Dependency:
    """Something that the worker cannot start without.

    Attributes
    ----------
    name : `str`
        Such as ``the list directory``.
    check : `~collections.abc.Callable`
        Raises `UnavailableError` if it is away, and another `OperatorError` if a setting is wrong.
    """

    name: str
    check: Callable[[], Awaitable[None]]


class PagesFirst(BootStrategy):
    """Starts the pages before the worker waits for what it depends on."""

    def server(self) -> Iterable[ServiceT]:
        """Return the services of a worker in the order in which they start."""
        return [
            *self.sensors(),
            *self.web_server(),
            cast("Any", self.app).startup,
            *self.kafka_producer(),
            *self.kafka_consumer(),
            *self.agents(),
            *self.kafka_conductor(),
            *self.tables(),
        ]


class Startup(Service):
    """Waits for all dependencies; ends the process if a setting is wrong.

    Parameters
    ----------
    status : `Status`
        Shows what the worker waits for.
    limit : `float` or `None`
        Longest wait, in seconds; `None`: endless.

    Attributes
    ----------
    stages : `list` [`list` [`Dependency`]]
        What to wait for; a stage begins when the one before it is complete.
    is_done : `bool`
        Whether all dependencies were there.
    """

    def __init__(self, status: Status, limit: float | None) -> None:
        super().__init__()
        self._status = status
        self._limit = limit
        self.stages: list[list[Dependency]] = []
        self.is_done = False

    async def on_start(self) -> None:
        """Wait for all dependencies, or until the worker is asked to stop."""
        await self.wait(self._wait_for_stages())

    async def _wait_for_stages(self) -> None:
        try:
            async with asyncio.timeout(self._limit):
                for stage in self.stages:
                    await wait_for_all(stage, self._status)
        except TimeoutError:
            waits = "; ".join(self._status.unavailable.values())
            _end(f"gave up after BUTLER_WRITER_START_WAIT_SECONDS={self._limit:g}; {waits}")
        except OperatorError as exc:
            _end(str(exc))
        self._status.revoked()  # from now on, an assignment is due
        self.is_done = True


def _end(reason: str) -> NoReturn:
    """End the process: Faust would log a traceback, and nothing needs an orderly shutdown yet."""
    # Faust has replaced sys.stderr by its log.
    print(f"butler-writer: {printable(reason)}", file=sys.__stderr__, flush=True)
    os._exit(1)


async def wait_for_all(dependencies: Sequence[Dependency], status: Status) -> None:
    """Wait until all dependencies are there.

    Parameters
    ----------
    dependencies : `~collections.abc.Sequence` [`Dependency`]
        What to wait for, all at the same time.
    status : `Status`
        Shows what is away, and why.

    Raises
    ------
    OperatorError
        If a setting is wrong; the text names all that were found to be wrong.
    """
    waits = [asyncio.ensure_future(_wait_for(each, status)) for each in dependencies]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_EXCEPTION)
        if any(wait.exception() for wait in done):
            await asyncio.wait(waits, timeout=_GRACE_SECONDS)
        errors = [error for wait in waits if wait.done() and (error := wait.exception())]
    finally:
        for wait in waits:
            wait.cancel()
    for error in errors:
        if not isinstance(error, OperatorError):
            raise error
    if errors:
        raise OperatorError("; ".join(map(str, errors)))


async def _wait_for(dependency: Dependency, status: Status) -> None:
    report = _Report(status)
    report.asking(dependency.name)
    while True:
        attempt = asyncio.ensure_future(dependency.check())
        try:
            done, _ = await asyncio.wait([attempt], timeout=ANSWER_SECONDS)
            if not done:
                report.waiting(dependency.name, f"no answer within {ANSWER_SECONDS:g} s")
            await attempt
        except UnavailableError as exc:
            report.waiting(exc.dependency, str(exc))
        else:
            report.over()
            return
        finally:
            attempt.cancel()
        await asyncio.sleep(RETRY_SECONDS)


class _Report:
    """Shows the wait for one dependency, and logs it."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._key = f"start {id(self)}"  # several may have the same name, such as staging roots
        self._name: str | None = None
        self._logged: tuple[str, float] | None = None

    def asking(self, name: str) -> None:
        """Show that there is no answer yet."""
        self._show(name, f"{name} has not answered yet")

    def waiting(self, name: str, reason: str) -> None:
        """Show why the worker waits."""
        self._show(name, f"{name} does not answer: {reason}")
        now = time.monotonic()
        if self._logged is not None:
            before, at = self._logged
            if now - at < (_UNCHANGED_SECONDS if before == reason else _CHANGED_SECONDS):
                return
        self._logged = (reason, now)
        logger.warning("waiting to start", dependency=name, reason=reason)

    def over(self) -> None:
        """Show that the wait is over."""
        if self._logged is not None:
            logger.info("answers now", dependency=self._name)
        self._clear()

    def _show(self, name: str, text: str) -> None:
        self._name = name
        self._status.cannot_use(name, text, key=self._key)

    def _clear(self) -> None:
        self._status.can_use(self._key)
