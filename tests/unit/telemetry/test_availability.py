"""What does not answer is shown, whether there is an error or silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from app.errors import LoginRefusedError
from app.kafka.errors import TopicError
from app.telemetry.availability import (
    AVAILABILITY_INTERVAL,
    LOOK_TIMEOUT,
    AvailabilityWatch,
    in_daemon_thread,
)
from app.telemetry.status import Status


@pytest.fixture
def status() -> Status:
    status = Status()
    status.assigned()
    return status


def watch(status: Status, look: Callable[[], asyncio.Future[None]]) -> AvailabilityWatch:
    return AvailabilityWatch("the database", look, status, timeout=0.05)


def answers() -> None:
    return


def fails() -> None:
    raise ConnectionRefusedError("Connection refused")


def test_an_outage_is_noticed_within_ten_seconds() -> None:
    assert AVAILABILITY_INTERVAL + LOOK_TIMEOUT < 10


async def test_an_error_is_shown_and_logged_until_there_is_an_answer(status: Status) -> None:
    looks = [answers, fails, fails, answers]
    shown = []
    own = AvailabilityWatch("the database", lambda: in_daemon_thread(looks.pop(0)), status)
    with capture_logs() as lines:
        for _ in range(4):
            await own.check()
            shown.append(status.not_ready)

    reason = "the database does not answer: ConnectionRefusedError: Connection refused"
    assert shown == [None, reason, reason, None]
    assert [line["event"] for line in lines] == ["no answer", "answers again"]


async def test_a_refusal_is_shown_as_it_is_and_logged_whenever_it_changes(status: Status) -> None:
    lacks = TopicError("Kafka user writer lacks READ on topic pp-output")
    login = LoginRefusedError("Kafka refuses the login of user writer")
    looks: list[Exception] = [OSError("gone"), lacks, lacks, login, OSError("gone"), lacks]
    shown = []

    def look() -> None:
        raise looks.pop(0)

    own = AvailabilityWatch("Kafka", lambda: in_daemon_thread(look), status)
    with capture_logs() as lines:
        for _ in range(6):
            await own.check()
            shown.append(status.not_ready)
    gone = "Kafka does not answer: OSError: gone"
    assert shown == [gone, str(lacks), str(lacks), str(login), gone, str(lacks)]
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("no answer", "OSError: gone"),
        ("refused", str(lacks)),
        ("refused", str(login)),
        ("refused", str(lacks)),
    ]


async def test_silence_is_shown_and_the_look_is_not_started_again(status: Status) -> None:
    silent: list[asyncio.Future[None]] = []

    def look() -> asyncio.Future[None]:
        silent.append(asyncio.get_running_loop().create_future())
        return silent[-1]

    own = watch(status, look)
    for _ in range(3):
        await own.check()
        assert status.not_ready == "the database does not answer: no answer within 0.05 s"
    assert len(silent) == 1

    silent[0].set_result(None)
    await own.check()
    assert status.not_ready is None


async def test_what_is_unavailable_is_named_separately(status: Status) -> None:
    await AvailabilityWatch("Kafka", lambda: in_daemon_thread(fails), status).check()
    await AvailabilityWatch("the database", lambda: in_daemon_thread(answers), status).check()

    assert list(status.unavailable) == ["Kafka"]
