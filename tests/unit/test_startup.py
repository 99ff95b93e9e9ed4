"""The wait for what a worker depends on: shown at once, logged seldom, over as soon as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from app import startup
from app.errors import OperatorError, UnavailableError
from app.startup import Dependency, Startup, wait_for_all
from app.telemetry.status import Status


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(startup, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(startup, "_GRACE_SECONDS", 0.05)


def away(times: int, then: Exception | None = None) -> Callable[[], Awaitable[None]]:
    """Return a check that fails some times, and then succeeds or fails for good."""
    failures: list[Exception] = [UnavailableError("refused", "the database")] * times

    async def check() -> None:
        if failures:
            raise failures.pop()
        if then is not None:
            raise then

    return check


async def silent() -> None:
    await asyncio.Event().wait()


async def test_a_dependency_that_comes_back_is_waited_for_with_one_warning() -> None:
    status = Status()
    with capture_logs() as logs:
        await wait_for_all([Dependency("the repository", away(50))], status)
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "waiting to start"),
        ("info", "answers now"),
    ]
    assert logs[0]["dependency"] == "the database"
    assert status.unavailable == {}


async def test_readiness_names_everything_that_is_away_or_silent() -> None:
    status = Status()
    dependencies = [
        Dependency("the repository", away(10**6)),
        Dependency("the list directory", silent),
    ]
    waiting = asyncio.ensure_future(wait_for_all(dependencies, status))
    while str(status.not_ready).count("does not answer") < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert set(str(status.not_ready).split("; ")) == {
        "the database does not answer: refused",
        "the list directory does not answer: no answer within 0.05 s",
    }
    waiting.cancel()


async def test_readiness_names_each_of_several_that_have_the_same_name() -> None:
    def missing(root: str) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            raise UnavailableError(f"{root} does not exist", "the staging root")

        return check

    status = Status()
    roots = [Dependency("the staging root", missing(root)) for root in ("/one", "/two")]
    waiting = asyncio.ensure_future(wait_for_all(roots, status))
    while str(status.not_ready).count("does not answer") < 1:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert status.not_ready == (
        "the staging root does not answer: /one does not exist; "
        "the staging root does not answer: /two does not exist"
    )
    waiting.cancel()


async def test_all_that_is_wrong_is_named_in_one_line_though_something_is_away() -> None:
    status = Status()
    dependencies = [
        Dependency("the repository", away(1, OperatorError("no repository"))),
        Dependency("the list directory", away(0, OperatorError("no folder"))),
        Dependency("Kafka", away(10**6)),
    ]
    with pytest.raises(OperatorError) as caught:
        await wait_for_all(dependencies, status)
    assert str(caught.value) == "no repository; no folder"


async def test_an_error_of_our_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await wait_for_all([Dependency("it", away(0, ZeroDivisionError()))], Status())


async def test_a_wait_that_ends_names_what_has_not_answered_even_if_it_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(startup, "_end", reasons.append)
    monkeypatch.setattr(startup, "ANSWER_SECONDS", 5.0)
    start = Startup(Status(), limit=0.05)
    start.stages = [[Dependency("the repository", silent), Dependency("Kafka", away(0))]]
    await start.on_start()
    assert reasons == [
        "gave up after BUTLER_WRITER_START_WAIT_SECONDS=0.05; the repository has not answered yet"
    ]
